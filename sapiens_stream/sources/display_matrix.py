"""How a video's frames have to be turned to be upright."""

from __future__ import annotations

import math

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

from sapiens_stream.colour.side_data import side_data_of


class DisplayMatrix:
    """The turn that the frames of one video ask for."""

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._turns = 0, False

    def turns(self, frame: av.VideoFrame) -> tuple[int, bool]:
        """As a `Frame` has it: quarter turns counter-clockwise, then mirrored."""
        if frame.rotation != self._rotation:
            self._rotation, self._turns = frame.rotation, _upright_turns(frame)
        return self._turns


def _upright_turns(frame: av.VideoFrame) -> tuple[int, bool]:
    """What the display matrix asks for, as a `Frame` has it: quarter turns counter-clockwise, then mirrored.

    The matrix is that of libavutil/display.h: a point (x, y), y down, goes to (a x + c y, b x + d y).
    """
    matrix = side_data_of(frame, SideDataType.DISPLAYMATRIX)
    if matrix is None:  # or there is other data, of a kind that PyAV does not know
        return round(frame.rotation / 90) % 4, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    mirrored = a * d < b * c
    return round(math.atan2(-b, -a if mirrored else a) / (math.pi / 2)) % 4, mirrored
