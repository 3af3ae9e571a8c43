"""Frames in other formats, by FFmpeg's swscale, where several threads hold the same frame.

PyAV's own `VideoFrame.reformat` is for one thread: it keeps one scaler a frame, in which two hang or spoil each other's
pixels, and takes the frame's colour tags away for as long as it works.
"""

from __future__ import annotations

import threading
from typing import Any

import av
import numpy as np
import numpy.typing as npt

_LOCKS = tuple(threading.Lock() for _ in range(64))


def lock_of(frame: av.VideoFrame) -> threading.Lock:
    """What to hold while a shared frame's tags are read, or it is converted. Others may have the same, so hold one."""
    return _LOCKS[hash(frame) % len(_LOCKS)]


def converted(frame: av.VideoFrame, form: str, size: tuple[int, int] | None = None, **how: Any) -> av.VideoFrame:
    """A frame in the format `form`, of (height, width) `size`; itself where nothing is to be done.

    `how` is what `VideoFrame.reformat` takes besides.
    """
    height, width = size or (frame.height, frame.width)
    with lock_of(frame):
        return frame.reformat(width, height, form, **how)


def array_of(frame: av.VideoFrame, form: str) -> npt.NDArray[Any]:
    """The pixels of a frame in the format `form`, as `VideoFrame.to_ndarray` gives them."""
    # One thread: swscale would start as many as there are cores for each frame, which takes longer.
    return np.asarray(converted(frame, form, threads=1).to_ndarray())
