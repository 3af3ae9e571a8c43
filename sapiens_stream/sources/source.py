"""What every source is: something that yields frames in order, and can be closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from sapiens_stream.frame import Frame, Skipped, SourceInfo


class Source(ABC):
    """Yields each frame once, in order, and a `Skipped` for one that cannot be read.

    One of your own needs `info` and `frames` alone.
    """

    info: SourceInfo

    @abstractmethod
    def frames(self) -> Iterator[Frame | Skipped]:
        """The frames from the first, each once: a second call goes on where the first is. Ends when closed.

        The name of a `Skipped` is the path of the file. Raises InputError where nothing more can be read.
        """

    @property
    def names(self) -> Sequence[str]:
        """Those that the frames will have, where it is known before they are read."""
        return ()

    @property
    def first_name(self) -> str | None:
        """That of the first frame, where those of all others count up from it ("clip/000000")."""
        return None

    def close(self) -> None:
        """Releases what the source holds; may be called from another thread, and more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
