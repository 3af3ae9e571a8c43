"""HTML and SVG of which every text is escaped: names in records and files are anybody's."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from sapiens_stream.text import encodable, visible


class Markup(str):
    """Text that is markup already, made by `element` alone."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element. Children that are no Markup are escaped, lists are taken apart, None is left out.

    Of attributes' names "_" at the end is dropped and any other becomes "-"; None leaves one out.

    >>> element("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(shown(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{''.join(map(str, _escaped(children)))}</{name}>")


def shown(value: object) -> str:
    """A value as text that any encoding has and that turns no other round; of fractions two digits."""
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return encodable(visible(text))


_VOID = frozenset({"img", "meta", "br", "link"})


def _escaped(children: Iterable[object]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, (str, int, float)):
            yield escape(shown(child))
        elif isinstance(child, Iterable):
            yield from _escaped(child)
        else:
            yield escape(shown(child))
