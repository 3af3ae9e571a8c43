"""How a model is opened, in one value. Nothing heavy is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike
from typing import TypedDict, cast

from sapiens_stream.errors import UsageError
from sapiens_stream.models.normalisation import Triple
from sapiens_stream.settings import as_int, unclear_flag

MOST_DETAIL = 4.0
"""Times the pixels that a model is made for, or as few: bodies are then of a size that it does not know."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What `open_model` is called with besides the model.

    Args:
        shape: the (height, width) that the model gets; None: the checkpoint's own (the built-in model's is then in the
            picture's aspect).
        detail: times as many pixels as a model that keeps a picture's aspect is made for: with more it sees smaller
            parts, and takes as many times as long. None: 1 of video and live pictures, of photos what the model says
            (the built-in one 2).
        as_is: run the graph in a Sapiens checkpoint's file, where our own module would run its weights.
        trust: run a file's graph although it holds more than tensor operators, and may do anything.
        pull: fetch a model of that name if it is not on disk.
        classes_from: what the classes are called: "sapiens", "sapiens2", or a file that `read_classes` takes. None: as
            the checkpoint or its family says; where neither does, they are numbered.
        mean, std: of RGB in 0..255, for `(pixel - mean) / std`; None as with `classes_from`, where neither says it is
            Sapiens'.

    Raises:
        UsageError: for a value that cannot be.

    >>> ModelOptions(shape=(512, 384), as_is=True)
    """

    shape: tuple[int, int] | None = None
    detail: float | None = None
    as_is: bool = False
    trust: bool = False
    pull: bool = False
    classes_from: str | None = None
    mean: Triple | None = None
    std: Triple | None = None

    def __post_init__(self) -> None:
        if unclear := unclear_flag(as_is=self.as_is, trust=self.trust, pull=self.pull):
            raise UsageError(unclear)
        if self.shape is not None:
            object.__setattr__(self, "shape", _checked(self.shape))
        if self.detail is not None:
            object.__setattr__(self, "detail", _detail(self.detail))
            if self.shape is not None:
                raise UsageError(f"a shape and a detail of {self.detail:g}; one of them says what the model gets")
        if self.classes_from is not None:
            object.__setattr__(self, "classes_from", str(self.classes_from))
        for name in ("mean", "std"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, _triple(name, given))


class ModelSettings(TypedDict, total=False):
    """The fields of ModelOptions, as keywords."""

    shape: tuple[int, int] | None
    detail: float | None
    as_is: bool
    trust: bool
    pull: bool
    classes_from: str | PathLike[str] | None
    mean: Triple | None
    std: Triple | None


def _triple(name: str, given: object) -> Triple:
    try:
        red, green, blue = (float(each) for each in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise UsageError(f"a {name} of {given!r}; it is three numbers, of red, green and blue in 0..255") from None
    if not all(map(math.isfinite, (red, green, blue))) or (name == "std" and min(red, green, blue) <= 0):
        raise UsageError(
            f"a {name} of {red:g} {green:g} {blue:g}; each is finite" + (", and above 0" * (name == "std"))
        )
    return red, green, blue


def _detail(given: object) -> float:
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not 1 / MOST_DETAIL <= given <= MOST_DETAIL:
        raise UsageError(f"a detail of {given!r}; it is a number from {1 / MOST_DETAIL:g} to {MOST_DETAIL:g}")
    return float(given)


def _checked(shape: object) -> tuple[int, int]:
    sides = [as_int(side) for side in shape] if isinstance(shape, (tuple, list)) else []
    if [type(side) for side in sides] != [int, int]:
        raise UsageError(f"a shape of {shape!r}; it is (height, width), two whole numbers")
    height, width = cast("tuple[int, int]", tuple(sides))
    if min(height, width) < 1:
        raise UsageError(f"a shape of {height}x{width} (height x width); both are 1 or more")
    return height, width
