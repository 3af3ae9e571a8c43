"""What an earlier run has left of a label video."""

from __future__ import annotations

from array import array
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sapiens_stream.containers.frame_index import CUE_EVERY, OWN_LAYOUT
from sapiens_stream.containers.map_video import FINGERPRINT
from sapiens_stream.containers.matroska import MatroskaFile
from sapiens_stream.containers.matroska_head import Layout
from sapiens_stream.errors import InputError
from sapiens_stream.sinks.files import aside, discard, give_name
from sapiens_stream.sinks.label_head import LabelHead


@dataclass(frozen=True)
class HeldFrames:
    """Frames that lie beside the name that the video will have, each sound by its checksum.

    `count` of them take the first `size` bytes; `cues` are times and places from the segment's content, in turn, and
    `last` is the time of the last frame, nanoseconds. `was_finished` says that they had that name.
    """

    layout: Layout
    count: int
    size: int
    cues: array[int]
    last: int
    was_finished: bool

    def fit(self, head: LabelHead) -> bool:
        """Whether a file that begins with this head is the same video."""
        tags = {name: text for name, text in self.layout.tags.items() if name != FINGERPRINT}
        mine = (self.layout.size, self.layout.private, self.layout.frame_duration, self.layout.first_cluster, tags)
        return mine == (head.size, head.private, head.frame_duration, len(head.as_bytes()), head.tags())

    def put_back(self, path: Path) -> bool:
        """Gives the video its name again, if it had it; nothing of it was changed then."""
        if not self.was_finished:
            return False
        give_name(aside(path), path)
        return True


def hold_frames(path: Path) -> HeldFrames | None:
    """Looks at what lies under the name and beside it, keeps what holds more, and puts it beside; None for nothing."""
    finished, growing = look_at(path, was_finished=True), look_at(aside(path), was_finished=False)
    kept = max((each for each in (finished, growing) if each is not None), key=lambda each: each.count, default=None)
    if kept is None:
        discard(aside(path))
    elif kept.was_finished:
        path.replace(aside(path))
    return kept


def sound_frames(path: Path) -> int:
    """How many frames of a label video are as they were written, up to the first that is not."""
    held = look_at(path, was_finished=True)
    return held.count if held is not None else 0


def look_at(path: Path, *, was_finished: bool) -> HeldFrames | None:
    """The sound frames of a label video; None where there is none."""
    with suppress(OSError, InputError):
        if not path.is_symlink():
            with path.open("rb", buffering=0) as file:
                return _held(MatroskaFile(file), was_finished)
    return None


def _held(file: MatroskaFile, was_finished: bool) -> HeldFrames | None:
    layout = file.layout
    if layout.muxing_app != OWN_LAYOUT:
        return None
    count, size, last, cues = 0, layout.first_cluster, 0, array("Q")
    for cluster in file.clusters(layout.first_cluster):
        try:
            frames = list(file.frames(cluster))
            if cluster.at != size or cluster.end is None or len(frames) != 1 or not file.is_sound(cluster):
                break
        except InputError:
            break
        if count % CUE_EVERY == 0:
            cues.extend((frames[0].timestamp, cluster.at - layout.content))
        count, size, last = count + 1, cluster.end, frames[0].timestamp
    return HeldFrames(layout, count, size, cues, last, was_finished) if count else None
