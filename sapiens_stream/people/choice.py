"""Whether a clip's people are worth a second look, by its first frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from sapiens_stream.frame import Frame, PersonBox

_FRAMES = 5
_LARGE = 0.5
"""Of the picture's height or width, from which one person alone is large."""
_SPECK, _UNSURE = 0.06, 0.6
"""Of the picture's height, and a score: who is below both is a speck of the map, and no reason for a second look."""


class Choice:
    """Looks at the first frames of each clip: one large person, in most of them, needs no second look.

    `note` is called with a sentence about what was chosen. Photos are each looked at.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._lock = Lock()  # several devices see frames of one clip
        self._clip = ""
        self._votes: list[bool] = []
        self.chosen: str | None = None
        """"builtin" or "off", of the last clip; None before it is known."""

    def is_off(self, frame: Frame) -> bool:
        """Whether the frame's clip is one whose people are not looked at."""
        return self.chosen == "off" and not frame.is_photo and _clip_of(frame) == self._clip

    def see(self, frame: Frame, people: Sequence[PersonBox]) -> None:
        """The people of a frame."""
        if not frame.is_photo:
            with self._lock:
                self._see(frame, people)

    def _see(self, frame: Frame, people: Sequence[PersonBox]) -> None:
        if _clip_of(frame) != self._clip:
            self._clip, self._votes, self.chosen = _clip_of(frame), [], None
        if self.chosen is not None:
            return
        height, width = frame.size
        people = [each for each in people if each.height >= _SPECK * height or each.score >= _UNSURE]
        large = [each for each in people if each.height >= _LARGE * height or each.width >= _LARGE * width]
        self._votes.append(len(people) == len(large) == 1)
        if len(self._votes) == _FRAMES:
            self.chosen = "off" if sum(self._votes) > _FRAMES / 2 else "builtin"
            found = "one large person" if self.chosen == "off" else "several people, or small ones"
            what = "not looked at again" if self.chosen == "off" else "each is looked at again"
            self._note(f"{self._clip}: {found} in its first {_FRAMES} frames: {what} (--people auto)")


def _clip_of(frame: Frame) -> str:
    return frame.name.rpartition("/")[0]
