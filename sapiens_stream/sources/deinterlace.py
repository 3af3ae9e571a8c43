"""Interlaced frames to progressive ones, one for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
from av.filter import Graph

from sapiens_stream.colour.conversion import converted

_PLANAR = {
    **dict.fromkeys(("uyvy422", "yuyv422", "yvyu422", "nv16"), "yuv422p"),
    **dict.fromkeys(("nv12", "nv21"), "yuv420p"),
    "uyyvyy411": "yuv411p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
    "y210le": "yuv422p10le",
}
"""Of Y'CbCr that lies otherwise, as bwdif takes it; left to FFmpeg's graph it would lose its matrix."""


class Deinterlacer:
    """Turns each interlaced frame into one progressive frame of the same time; a progressive one passes unchanged.

    FFmpeg's bwdif looks at the frame after, so the results come one frame late; `flush` gives the last.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None
        self._times: deque[_Time] = deque()

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """The frames that are ready once `frame` is known."""
        frame = converted(frame, _PLANAR.get(frame.format.name, frame.format.name))
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            yield from self.flush()
            self._graph, self._shape = _graph(frame), shape
        assert self._graph is not None
        self._times.append(_Time(frame.pts, frame.duration, frame.time_base))
        self._graph.vpush(frame)
        yield from self._pull()

    def flush(self) -> Iterator[av.VideoFrame]:
        """The frames that are held back."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull()
        self._graph = self._shape = None

    def _pull(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            # bwdif halves the time base, and drops the durations of what it has made.
            frame.pts, frame.duration, time_base = self._times.popleft()
            frame.time_base = time_base
            yield frame


class _Time(NamedTuple):
    pts: int | None
    duration: int
    time_base: Fraction | None


def _graph(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 2
    time_base = frame.time_base or Fraction(1, 1000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph
