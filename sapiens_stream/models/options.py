"""How a model is opened, in one value. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from sapiens_stream.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What `open_model` can be told beside the model.

    Args:
        shape: the (height, width) that the model gets; None: the checkpoint's own (the built-in model's is then in the
            picture's aspect).
        as_is: run the graph in a Sapiens checkpoint's file, where our own module would run its weights.
        trust: run a file's graph although it holds more than tensor operators, and may do anything.
        pull: fetch a model of that name if it is not on disk.

    Raises:
        UsageError: for a shape that cannot be.

    >>> ModelOptions(shape=(512, 384), as_is=True)
    """

    shape: tuple[int, int] | None = None
    as_is: bool = False
    trust: bool = False
    pull: bool = False

    def __post_init__(self) -> None:
        if self.shape is not None:
            object.__setattr__(self, "shape", _checked(self.shape))


class ModelSettings(TypedDict, total=False):
    """The fields of ModelOptions, as keywords."""

    shape: tuple[int, int] | None
    as_is: bool
    trust: bool
    pull: bool


def _checked(shape: object) -> tuple[int, int]:
    if not isinstance(shape, (tuple, list)) or [type(side) for side in shape] != [int, int]:
        raise UsageError(f"a shape of {shape!r}; it is (height, width), two whole numbers")
    height, width = shape
    if min(height, width) < 1:
        raise UsageError(f"a shape of {height}x{width} (height x width); both are 1 or more")
    return height, width
