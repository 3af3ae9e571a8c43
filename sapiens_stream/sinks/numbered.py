"""Files of frames that go by numbers of their own: a sequence in its own folder, as editors open it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import SourceInfo
from sapiens_stream.settings import MOST_FRAMES


@dataclass(frozen=True)
class Numbered:
    """Names such as "clip_matte/clip_matte.001001": `suffix` is what follows the clip's name, `ending` what follows
    the number. Without a `start` numbered pictures keep their numbers, and all others count from 0.

    Raises UsageError for a start below 0, or so large that numbers would not be of one length.
    """

    suffix: str
    ending: str
    start: int | None = None

    def __post_init__(self) -> None:
        if self.start is not None and not (type(self.start) is int and 0 <= self.start < MOST_FRAMES):
            raise UsageError(f"start number {self.start!r}; it is 0 to {MOST_FRAMES - 1}")

    def require_room(self, source: SourceInfo) -> None:
        """Raises UsageError where the numbers of a source's frames would not be of one length."""
        first, frames = self.first_of(source), source.frame_count or 0
        if source.numbers is not None and self.start is None:
            frames = source.numbers[1] + 1 - first
        if first + frames > MOST_FRAMES:
            most = f"--start-number {max(0, MOST_FRAMES - (source.frame_count or 0))} at most"
            raise UsageError(
                f"{source.name}: {frames} frames from number {first} on go beyond {MOST_FRAMES - 1}; {most}"
            )

    def first_of(self, source: SourceInfo) -> int:
        """The number of a source's first frame."""
        if self.start is not None:
            return self.start
        return source.numbers[0] if source.numbers is not None else 0

    def name(self, frame_name: str, index: int, number: int | None = None) -> str:
        """For a frame by its name, "clip/000000", and the `number` that it has itself, if any; `index` is its place
        where the name tells none."""
        folder, last = PurePosixPath(frame_name).parent, PurePosixPath(frame_name).name
        place = int(last) if last.isdecimal() else index
        sequence = f"{folder.name}{self.suffix}"
        shown = number if number is not None and self.start is None else (self.start or 0) + place
        return (folder.parent / sequence / f"{sequence}.{shown:06d}").as_posix()
