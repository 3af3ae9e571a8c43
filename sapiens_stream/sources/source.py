"""What every source is: something that yields frames in order, and can be closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sapiens_stream.frame import Frame, Skipped, SourceInfo

OPEN_IN_EACH = "open it in each process"
"""What is said where a source goes to another process than its own."""


def up_to_first_frame(items: Iterator[Frame | Skipped]) -> list[Frame | Skipped]:
    """What comes up to the first frame, which alone tells what the others are like; all, where there is no frame."""
    head = []
    for each in items:
        head.append(each)
        if isinstance(each, Frame):
            break
    return head


def with_first(head: list[Frame | Skipped], rest: Iterable[Frame | Skipped]) -> Iterator[Frame | Skipped]:
    """What was taken so, and the rest; `head` becomes empty, so that the first frame is not held to the end."""
    while head:
        yield head.pop(0)
    yield from rest


class Source(ABC):
    """Yields each frame once, in order, and a `Skipped` for one that cannot be read.

    One of your own needs `info` and `frames` alone.

    >>> class Noise(Source):
    ...     info = SourceInfo(name="noise", kind="video", frame_count=10)
    ...
    ...     def frames(self):
    ...         for index in range(10):
    ...             picture = np.random.randint(0, 256, (480, 640, 3), np.uint8)
    ...             yield Frame(index=index, name=f"noise/{index:06d}", decoded=picture)
    >>> for result in segment(Noise()):
    ...     print(result.frame.name)
    """

    info: SourceInfo

    @abstractmethod
    def frames(self) -> Iterator[Frame | Skipped]:
        """The frames from the first, each once: a second call goes on where the first is. Ends when closed.

        Returns:
            An iterator of Frame, and of Skipped, whose name is the path of the file.

        Raises:
            InputError: where nothing more can be read.
        """

    @property
    def names(self) -> Sequence[str]:
        """Those that the frames will have, where it is known before they are read."""
        return ()

    @property
    def first_name(self) -> str | None:
        """That of the first frame, where those of all others count up from it ("clip/000000")."""
        return None

    def pass_over(self, numbers: Mapping[str, int | None], on_pass: Callable[[str], None]) -> None:
        """Leaves out frames by their names, where `names` are known: they are neither read nor yielded.

        Called before `frames`; a source without `names` takes no notice. Each counts all the same.

        Args:
            numbers: by name, the index that the frame had; with another index now it is yielded. None: any will do.
            on_pass: called with the name of each that is left out.
        """

    def path_of(self, name: str) -> Path | None:
        """The file of a frame that has one of its own.

        Args:
            name: of the frame.

        Returns:
            Its path; None where the source is one file, or none.
        """
        return None

    def close(self) -> None:
        """Releases what the source holds; may be called from another thread, and more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
