"""What every sink is: something that results are written to, and that is closed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from sapiens_stream.frame import Segmentation


class Sink(ABC):
    """Writes results. One of your own needs `write` alone.

    Raises OutputError, which names the file, where one can not be written. Whatever else it raises ends the run too.

    An `ordered` sink gets the results of a source in order, from one thread; any other may be called from several
    threads at once, in any order.
    """

    ordered: ClassVar[bool] = False

    @abstractmethod
    def write(self, result: Segmentation) -> None:
        """Writes one result; each file is whole under its name when this returns, or not there."""

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        """About how much disk a result takes, `size` being (height, width); for the estimate before a run."""
        return 0

    def close(self) -> None:
        """Finishes what is open so that it is readable; called once, also after a failure or an interruption."""

    @property
    def written(self) -> list[Path]:
        """The files that span the whole source (an overlay video), once closed; not those of a frame."""
        return []
