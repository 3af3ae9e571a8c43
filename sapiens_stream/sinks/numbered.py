"""Files of frames that go by numbers of their own: a sequence in its own folder, as editors open it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from sapiens_stream.errors import UsageError
from sapiens_stream.settings import MOST_FRAMES


@dataclass(frozen=True)
class Numbered:
    """Names such as "clip_matte/clip_matte.001001": `suffix` is what follows the clip's name, `ending` what follows
    the number, `start` the first one.

    Raises UsageError for a start below 0, or so large that numbers would not be of one length.
    """

    suffix: str
    ending: str
    start: int = 0

    def __post_init__(self) -> None:
        if type(self.start) is not int or not 0 <= self.start < MOST_FRAMES:
            raise UsageError(f"start number {self.start!r}; it is 0 to {MOST_FRAMES - 1}")

    def require_room(self, clip: str, frames: int) -> None:
        """Raises UsageError where numbers of so many frames of a clip would not be of one length."""
        if self.start + frames > MOST_FRAMES:
            most = f"--start-number {max(0, MOST_FRAMES - frames)} at most"
            raise UsageError(f"{clip}: {frames} frames from number {self.start} on go beyond {MOST_FRAMES - 1}; {most}")

    def name(self, frame_name: str, index: int) -> str:
        """For a frame by its name, "clip/000000"; `index` is its number where the name tells none."""
        folder, last = PurePosixPath(frame_name).parent, PurePosixPath(frame_name).name
        index = int(last) if last.isdecimal() else index
        sequence = f"{folder.name}{self.suffix}"
        return (folder.parent / sequence / f"{sequence}.{self.start + index:06d}").as_posix()
