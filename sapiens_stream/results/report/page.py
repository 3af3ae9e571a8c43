"""The page: its head, and the pieces that sections are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sapiens_stream.classes import ClassSet
from sapiens_stream.results.report.charts import hex_colour
from sapiens_stream.results.report.markup import Markup, element, shown

MARK = "sapiens-stream results report"
"""What every page says of itself, by which one is known for a page of ours."""

_NOTHING_FROM_ELSEWHERE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, articles: Iterable[Markup]) -> Iterable[str]:
    """The whole page, an article at a time."""
    style = (Path(__file__).parent / "page.css").read_text("utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="generator", content=MARK),
        element("meta", http_equiv="Content-Security-Policy", content=_NOTHING_FROM_ELSEWHERE),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(style)),
    )
    yield f'<!doctype html>\n<html lang="en">{head}<body><main>\n'
    for article in articles:
        yield f"{article}\n"
    yield "</main></body></html>\n"


def section(title: str, *children: object, long: bool = False) -> Markup:
    """A part of an article; a `long` one may be broken over pages of paper."""
    return element("section", element("h2", title), *children, class_="long" if long else None)


def tiles(figures: Sequence[tuple[str, object]]) -> Markup:
    """Figures at a glance, each with what it is."""
    return element(
        "div",
        [element("div", element("b", figure), element("span", what), class_="tile") for what, figure in figures],
        class_="tiles",
    )


def facts(rows: Sequence[tuple[str, object]]) -> Markup:
    """A table of names and values; what is not known is left out."""
    known = [(name, value) for name, value in rows if value not in (None, "")]
    return element("table", [element("tr", element("th", name), element("td", value)) for name, value in known])


def chart(drawing: Markup) -> Markup:
    """A chart, which is moved sideways on a narrow screen."""
    return element("div", drawing, class_="scroll")


def figure(pictures: Sequence[Markup], caption: object) -> Markup:
    """Pictures beside each other, and what they are."""
    return element("figure", element("div", pictures, class_="row"), element("figcaption", caption))


def figures(found: Sequence[Markup], kind: str = "") -> Markup:
    """Figures in as many columns as fit."""
    return element("div", found, class_=f"pictures {kind}".strip())


def legend(classes: ClassSet, ids: Iterable[int]) -> Markup:
    """Names of classes with their colours."""
    return element(
        "ul",
        [element("li", swatch(hex_colour(classes.colours[index])), classes[index]) for index in ids],
        class_="legend",
    )


def swatch(colour: str) -> Markup:
    """A spot of a colour."""
    return element(
        "svg",
        element("rect", width=10, height=10, rx=2, fill=colour),
        viewBox="0 0 10 10",
        class_="swatch",
        aria_hidden="true",
    )


def note(text: str) -> Markup:
    """A line that explains."""
    return element("p", text, class_="note")


def per_cent(share: float | None) -> str:
    """A share of 1."""
    return "–" if share is None else f"{shown(round(share * 100, 1 if share >= 0.001 else 2))} %"
