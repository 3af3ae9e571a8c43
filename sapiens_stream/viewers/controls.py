"""What the keys of the preview do: ask something of the run, or change the look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sapiens_stream.classes import ClassSet
from sapiens_stream.settings import OPACITY
from sapiens_stream.viewers.viewer import Command

KEYS = (
    ("q  Esc", "quit"),
    ("space", "pause, go on"),
    ("s", "snapshot: picture, classes, JSON"),
    ("r", "record on, off"),
    ("+  -", "opacity"),
    ("b", "picture beside overlay"),
    ("c  C", "one class alone: next, previous"),
    ("l", "legend"),
    ("f", "full screen"),
    ("h", "this help"),
)

_COMMANDS = {
    "q": Command.QUIT,
    "\x1b": Command.QUIT,
    " ": Command.PAUSE,
    "s": Command.SNAPSHOT,
    "r": Command.RECORD,
}
_OPACITY_STEPS = {"+": 0.1, "=": 0.1, "-": -0.1, "_": -0.1}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the viewer wants it; `only` is the class that is shown alone."""

    opacity: float = OPACITY
    beside: bool = False
    only: int | None = None
    legend: bool = True
    help: bool = False
    full_screen: bool = False


@dataclass(frozen=True)
class Answer:
    """What a key did: the look from now on, what the run is asked, and a word to the viewer."""

    look: Look
    command: Command | None = None
    word: str = ""


def press(key: str, look: Look, classes: ClassSet, seen: Sequence[int]) -> Answer:
    """Answers a key; `seen` are the classes to cycle through, ascending."""
    if key in _COMMANDS:
        command = _COMMANDS[key]
        return Answer(look, command, "snapshot" if command is Command.SNAPSHOT else "")
    if key in _OPACITY_STEPS:
        opacity = round(min(max(look.opacity + _OPACITY_STEPS[key], 0.0), 1.0), 2)
        return Answer(replace(look, opacity=opacity), word=f"opacity {opacity:.0%}")
    if key in ("c", "C"):
        only = _next(look.only, seen if key == "c" else seen[::-1])
        return Answer(replace(look, only=only), word="all classes" if only is None else classes.names[only])
    switched = {
        "b": replace(look, beside=not look.beside),
        "l": replace(look, legend=not look.legend),
        "h": replace(look, help=not look.help),
        "f": replace(look, full_screen=not look.full_screen),
    }
    return Answer(switched.get(key, look))


def _next(only: int | None, cycle: Sequence[int]) -> int | None:
    """The one after `only`; None stands between the last and the first."""
    if only is None:
        return cycle[0] if cycle else None
    if only not in cycle:
        return None
    place = cycle.index(only) + 1
    return cycle[place] if place < len(cycle) else None
