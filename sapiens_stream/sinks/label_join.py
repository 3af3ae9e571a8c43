"""Label videos of a clip's parts, joined into that of the whole, without decoding or encoding a frame."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

from sapiens_stream.containers import ebml
from sapiens_stream.containers.frame_index import CUE_EVERY
from sapiens_stream.containers.label_video import LabelVideo
from sapiens_stream.containers.matroska import MatroskaFile
from sapiens_stream.errors import InputError, OutputError
from sapiens_stream.frame import Frame, SourceInfo
from sapiens_stream.sinks.files import not_written
from sapiens_stream.sinks.growing import GrowingFile
from sapiens_stream.sinks.held_frames import look_at
from sapiens_stream.sinks.label_head import LabelHead
from sapiens_stream.sinks.label_video import encoder_for, head_of


def join_label_videos(
    parts: Sequence[tuple[Path, int]], path: Path, first: Frame, source: SourceInfo, fingerprint: str
) -> int:
    """Writes `path` of `parts` in their order, to the byte as one run would have; returns the number of frames.

    Each part has to have the number of frames that stands beside it. `first` is the first frame of the whole source.
    Raises InputError for a part that is damaged, or of another video; OutputError where it cannot be written.
    """
    with LabelVideo(parts[0][0]) as video:
        head = head_of(first, source, encoder_for(first.size), classes=video.classes, model=video.model)
    try:
        joined = _Joined(path, head)
    except OSError as error:
        raise not_written(path, error) from error
    try:
        for part, count in parts:
            joined.take(part, count)
        joined.finish(fingerprint)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        joined.close()
    return joined.count


class _Joined:
    """The file that the parts go into. Raises OSError, InputError or OutputError."""

    def __init__(self, path: Path, head: LabelHead) -> None:
        self.count = 0
        self._head = head
        self._cues = array("Q")  # time and place of each, in turn
        self._last = -1
        self._duration = 0
        self._file = GrowingFile(path)
        self._file.append(head.as_bytes())

    def take(self, part: Path, count: int) -> None:
        held = look_at(part, was_finished=True)
        if held is not None and held.count != count:
            raise InputError(f"{part} is damaged: of its {count} frames {held.count} are sound")
        if held is None or not held.fit(self._head):
            raise InputError(f"{part} is damaged, or no part of this video")
        with part.open("rb") as opened:
            file = MatroskaFile(opened)
            taken = 0
            for cluster in file.clusters(file.layout.first_cluster):
                if taken == held.count:
                    break
                assert cluster.end is not None
                time = next(file.frames(cluster)).timestamp
                if time <= self._last:
                    raise InputError(f"{part} begins before the part before it ends")
                if self.count % CUE_EVERY == 0:
                    self._cues.extend((time, self._file.size - self._head.begin))
                self._file.append(file.read(cluster.at, cluster.end - cluster.at))
                self._last, self.count, taken = time, self.count + 1, taken + 1
            self._duration = round(file.layout.duration)

    def finish(self, fingerprint: str) -> None:
        if not self.count:
            raise OutputError("there are no frames to join")
        cues = self._file.size
        points = [ebml.cue(*self._cues[at : at + 2]) for at in range(0, len(self._cues), 2)]
        self._file.append(ebml.master(ebml.CUES, *points))
        head = self._head.as_bytes(fingerprint=fingerprint, end=self._file.size, cues=cues, duration=self._duration)
        self._file.overwrite(0, head)
        self._file.finish()

    def close(self) -> None:
        self._file.close()
