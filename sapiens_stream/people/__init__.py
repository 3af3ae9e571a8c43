"""What spans frames and people: between the logits of a clip's frames and their class maps."""

from __future__ import annotations

from sapiens_stream.errors import UsageError
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.models.model import Model
from sapiens_stream.people.chain import Chain
from sapiens_stream.people.every import Every
from sapiens_stream.people.steady import Steady
from sapiens_stream.settings import MOST_EVERY, MOST_STEADY


def refiner_for(model: Model, *, steady: int = 0, every: int = 1) -> Refiner | None:
    """What stands between the logits of one clip and its class maps; None where nothing is asked for.

    Args:
        model: the one that infers.
        steady: how many frames before and after each have a say in it; 0: none.
        every: of so many frames one is inferred, and those between take theirs from both sides; 1: all are.

    Raises UsageError for settings that there are not.
    """
    if type(steady) is not int or not 0 <= steady <= MOST_STEADY:
        raise UsageError(f"steady is {steady!r}; it is a number of frames, 0 to {MOST_STEADY}")
    if type(every) is not int or not 1 <= every <= MOST_EVERY:
        raise UsageError(f"every is {every!r}; it is a number of frames, 1 to {MOST_EVERY}")
    still = Steady(steady, model.threshold) if steady else None
    fewer = Every(every, model.threshold) if every > 1 else None
    return Chain(fewer, still) if fewer and still else fewer or still
