"""Where each frame of a Matroska file lies: found in a moment for any, and small however many there are."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from sapiens_stream.containers import ebml
from sapiens_stream.containers.elements import Header
from sapiens_stream.containers.matroska import FrameBlock, MatroskaFile
from sapiens_stream.errors import InputError

OWN_LAYOUT = "sapiens-stream label video 1"
"""The muxer of files with a frame in each cluster and a cue for each `CUE_EVERY` of them, in which this can be relied
on; any other is read through once."""
CUE_EVERY = 32

_MOST_FRAMES = 1 << 27  # 51 days at 30 frames/s


class FrameIndex:
    """Keeps the places of some clusters, from which the others are near. Raises InputError, nameless.

    What is not whole at the end of the file is left out.
    """

    def __init__(self, file: MatroskaFile) -> None:
        self._file = file
        self._first_frames = array("Q")
        self._places = array("Q")
        self._count = 0
        self._last = 0, 0
        """The cluster that was read last, by its first frame and its place: who reads in order goes on there."""
        at = file.layout.first_cluster
        if file.layout.muxing_app == OWN_LAYOUT:
            at = self._take_cues() or at
        self._walk(at)

    def __len__(self) -> int:
        return self._count

    def blocks(self, index: int) -> Iterator[tuple[Header, FrameBlock]]:
        """The frames from that of a number on, each with the cluster that it is in."""
        first, place = self._before(index)
        return islice(self._from(first, place), index - first, self._count - first)

    def _from(self, frame: int, place: int) -> Iterator[tuple[Header, FrameBlock]]:
        """Those from a cluster on, whose first frame has that number."""
        for cluster in self._file.clusters(place):
            self._last = frame, cluster.at
            for block in self._file.frames(cluster):
                yield cluster, block
                frame += 1

    def _before(self, index: int) -> tuple[int, int]:
        entry = bisect_right(self._first_frames, index) - 1
        if not 0 <= index < self._count or entry < 0:
            raise IndexError(f"frame {index} of {self._count}")
        last = self._last
        return (
            last if self._first_frames[entry] < last[0] <= index else (self._first_frames[entry], self._places[entry])
        )

    def _walk(self, at: int) -> None:
        """Reads on from a cluster, which is that of the next frame."""
        since = CUE_EVERY
        for cluster in self._file.clusters(at):
            try:
                frames = sum(1 for _ in self._file.frames(cluster))
            except InputError:
                return
            if since + frames > CUE_EVERY:
                self._first_frames.append(self._count)
                self._places.append(cluster.at)
                since = 0
            since += frames
            self._count += frames
            if self._count > _MOST_FRAMES:
                raise InputError(f"it has more than {_MOST_FRAMES} frames")

    def _take_cues(self) -> int | None:
        """The place of the last cluster with a cue, which the walk begins with; None where there are none."""
        layout = self._file.layout
        if layout.cues is None or not layout.first_cluster < layout.cues < layout.end:
            return None
        try:
            cues = self._file.header(layout.cues)
            if cues.number != ebml.CUES or cues.end is None or cues.end > layout.end:
                return None
            places = _places(self._file.read(cues.content, cues.end - cues.content))
        except InputError:
            return None
        if places is None or places[0] + layout.content != layout.first_cluster or np.any(np.diff(places) <= 0):
            return None
        places += layout.content
        if places[-1] >= layout.cues:
            return None
        self._places = array("Q", places[:-1].astype("=u8").tobytes())
        self._first_frames = array("Q", np.arange(len(places) - 1, dtype="=u8") * CUE_EVERY)
        self._count = CUE_EVERY * (len(places) - 1)
        return int(places[-1])


def _places(cues: bytes) -> npt.NDArray[np.int64] | None:
    """The places that our own cues name, all of one length; None for others."""
    one = np.frombuffer(ebml.cue(0, 0), np.uint8)
    if not cues or len(cues) % len(one):
        return None
    table = np.frombuffer(cues, np.uint8).reshape(-1, len(one))
    changing = _changing()
    if np.any((table != one) & ~changing):
        return None
    return np.ascontiguousarray(table[:, -8:]).view(">i8").ravel().astype(np.int64)


def _changing() -> npt.NDArray[np.bool_]:
    """Which bytes of a cue differ from one to another: those of its time and its place."""
    most = (1 << 64) - 1
    zero, full = (np.frombuffer(ebml.cue(each, each), np.uint8) for each in (0, most))
    return np.asarray(zero != full)
