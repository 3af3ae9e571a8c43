"""Options that say how something is written or shown which is not asked for: a line says what they are of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sapiens_stream.cli.output_options import DEFAULTS
from sapiens_stream.sinks import registry

if TYPE_CHECKING:
    from sapiens_stream.sinks import Outputs


@dataclass(frozen=True)
class Place:
    """Something that a command writes or shows: what asks for it, whether that was done, and the options of how."""

    option: str
    word: str | None
    asked: bool
    takes: Collection[str]


def places_of(outputs: Outputs, *, spanning: bool = True) -> list[Place]:
    """Those of the table of outputs; without `spanning` what is written for each frame alone."""
    return [
        Place(kind.option, kind.word, kind.is_chosen(outputs), kind.takes)
        for kind in registry.OUTPUTS
        if spanning or not kind.spans
    ]


def without_effect(choices: Mapping[str, Any], places: Sequence[Place]) -> Iterator[str]:
    """A sentence about each option that was chosen, by its name and value, and is of nothing that is asked for."""
    for name, value in choices.items():
        of = [place for place in places if name in place.takes]
        if of and value != DEFAULTS[name] and not _is_nothing(value) and not any(place.asked for place in of):
            option = _flag(name) if value is True else f"{_flag(name)} {value}"
            none = "which is not" if len(of) == 1 else "none of which is"
            yield f"{option} is of {_together(of)}, {none} asked for"


def _is_nothing(value: Any) -> bool:
    """Whether it asks for nothing, which is met wherever there is nothing."""
    return value is None or value is False or value == registry.NONE


def _together(places: Sequence[Place]) -> str:
    """ "--overlay video|frames or --contact-sheet"."""
    words: dict[str, list[str]] = {}
    for place in places:
        words.setdefault(_flag(place.option), []).extend([place.word] if place.word else [])
    *most, last = (f"{option} {'|'.join(dict.fromkeys(several))}".rstrip() for option, several in words.items())
    return f"{', '.join(most)} or {last}" if most else last


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
