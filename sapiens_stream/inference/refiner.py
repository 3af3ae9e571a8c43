"""What may stand between the forward and the class map: it spans the frames of a clip, or the people of a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sapiens_stream.frame import Frame

if TYPE_CHECKING:  # torch takes seconds to load, and what works on written results needs none
    from sapiens_stream.inference.pending import PendingBatch


class Refiner(Protocol):
    """Sees every frame of one clip and the logits of those it has inferred, and hands on each frame with its logits.

    An engine calls `take` for the frames as they come and `last` after them, in the thread that runs the clip, and
    meanwhile `refine` for what was taken, and after all of that `rest`, in the thread of the device, where their work
    is queued on the stream of the class maps. Frames come out once each and in order, when the refiner likes. So each
    clip has a refiner of its own.

    Memory may be short in `refine` and `rest`: they are called again after they have raised, and change nothing before.
    """

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The next frames of the clip, to those that are to be inferred now: of these, and of those held back."""

    def last(self) -> Sequence[Frame]:
        """No frame comes any more: those of the ones held back that are to be inferred."""

    def refine(self, batch: PendingBatch) -> list[PendingBatch]:
        """What was inferred, finite, to the frames that are ready, with the logits that their class maps are made of.

        Batches come in the order in which their frames were taken.
        """

    def rest(self) -> list[PendingBatch]:
        """The frames that are left."""

    def record(self) -> dict[str, Any]:
        """What the run record tells of it so far, as JSON types; asked for from any thread."""


class Stoppable:
    """`refiner` for a clip that may be stopped: then the frames are left out in which those to come have a say.

    So each frame that a stopped run hands on is the one that the whole run does.
    """

    def __init__(self, refiner: Refiner, stopped: Callable[[], bool]) -> None:
        self._refiner = refiner
        self._stopped = stopped
        self.take, self.refine, self.record = refiner.take, refiner.refine, refiner.record

    def last(self) -> Sequence[Frame]:
        return [] if self._stopped() else self._refiner.last()

    def rest(self) -> list[PendingBatch]:
        return [] if self._stopped() else self._refiner.rest()
