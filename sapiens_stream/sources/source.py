"""What every source is: something that yields frames in order, and can be closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sapiens_stream.frame import Frame, Skipped


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What is known of a source before its first frame; None where it is not known.

    `name` is safe to print (no credentials). `size` is (height, width) upright. `frame_count` is from the header
    of a video (an estimate) or the exact number of photos. `path` is the file that a video is read from; `url` is the
    address, if it is read from there, and may hold credentials.

    `frame_rate` is the average; the times of frames need not follow it. `time_base` is the unit of their `pts`.
    `sample_aspect_ratio` is the width of a stored pixel over its height. `interlaced` says that the file is; its
    frames are yielded deinterlaced.
    """

    name: str
    kind: Literal["photos", "video", "live"]
    frame_count: int | None = None
    size: tuple[int, int] | None = None
    frame_rate: Fraction | None = None
    duration: Fraction | None = None
    path: Path | None = None
    url: str | None = field(default=None, repr=False)
    time_base: Fraction | None = None
    sample_aspect_ratio: Fraction | None = None
    interlaced: bool = False


class Source(ABC):
    """Yields each frame once, in order, and a `Skipped` for one that can not be read.

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
