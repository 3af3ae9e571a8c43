"""What the record of a run tells of boxes that were given: their file, and how many frames they are in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sapiens_stream.frame import PersonBox, Segmentation

_BOXES = "boxes"


def told_of(path: Path) -> dict[str, Any]:
    """What an engine tells of its file, whichever clip it is at."""
    return {_BOXES: {"file": str(path)}}


class BoxesGiven:
    """Adds to the `remarks` of an engine what became of its boxes in one clip, if it was given any."""

    def __init__(self, remarks: Callable[[], Mapping[str, Any]]) -> None:
        self._remarks = remarks
        self._frames = 0

    def see(self, result: Segmentation) -> None:
        """The next result of the clip."""
        self._frames += any(_is_within(each, result.frame.size) for each in result.boxes or ())

    def record(self) -> dict[str, Any]:
        """For the run record: the remarks, with how many frames had boxes in them so far."""
        remarks = dict(self._remarks())
        if _BOXES in remarks:
            remarks[_BOXES] = {**remarks[_BOXES], "frames": self._frames}
        return remarks

    def unused(self, clip: str) -> str | None:
        """A sentence where none were in any frame of the clip: they may be of another, or of other sizes."""
        given = self._remarks().get(_BOXES)
        if given is None or self._frames:
            return None
        return f"{given['file']} has no boxes in any frame of {clip}: nobody was looked for"


def _is_within(box: PersonBox, size: tuple[int, int]) -> bool:
    """Whether any of it is in a picture of (height, width)."""
    height, width = size
    return -box.width < box.left < width and -box.height < box.top < height
