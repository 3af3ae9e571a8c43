"""Frames in other formats, by FFmpeg's swscale, where several threads hold the same frame.

PyAV's own `VideoFrame.reformat` is for one thread: it keeps one scaler a frame, in which two hang or spoil each other's
pixels, and takes the frame's colour tags away for as long as it works.

Each frame is converted by one thread. swscale would start as many as there are cores, which takes longer, and they
write into each other's lines: of 8 bits made 10, 854 pixels wide, every fifth frame had 16 wrong bytes.
"""

from __future__ import annotations

import threading
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from sapiens_stream.colour.meaning import BT601, Colour

_LOCKS = tuple(threading.Lock() for _ in range(64))


def lock_of(frame: av.VideoFrame) -> threading.Lock:
    """What to hold while a shared frame's tags are read, or it is converted. Others may have the same, so hold one."""
    return _LOCKS[hash(frame) % len(_LOCKS)]


def converted(frame: av.VideoFrame, form: str, size: tuple[int, int] | None = None, **how: Any) -> av.VideoFrame:
    """A frame in the format `form`, of (height, width) `size`; itself where nothing is to be done.

    `how` is what `VideoFrame.reformat` takes besides. swscale is told that what it has no matrix for is of BT.601, so
    that Y'CbCr in another format keeps its colours.
    """
    height, width = size or (frame.height, frame.width)
    with lock_of(frame):
        matrix = frame.colorspace
        if Colour(matrix=matrix).plain_matrix:
            return frame.reformat(width, height, form, threads=1, **how)
        told = {"src_colorspace": BT601, "dst_colorspace": BT601} | how
        made = frame.reformat(width, height, form, threads=1, **told)
        if made is not frame and "dst_colorspace" not in how:
            made.colorspace = matrix
        return made


def array_of(frame: av.VideoFrame, form: str) -> npt.NDArray[Any]:
    """The pixels of a frame in the format `form`, as `VideoFrame.to_ndarray` gives them."""
    return np.asarray(converted(frame, form).to_ndarray())
