"""What a decoded frame carries beside its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import av
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Interpolation

from sapiens_stream.colour.conversion import converted

_SMALL = (2, 2)


def side_data_of(frame: av.VideoFrame, kind: SideDataType) -> bytes | None:
    """The frame's data of a kind; None where there is none, or where PyAV does not know one of the kinds that it has.

    PyAV's side data and the frame that they are of hold each other, so that its picture lies in memory until Python
    looks for such circles, which in a long run it hardly does: a copy of a few pixels is asked in its place.
    """
    small = converted(frame, "gray", _SMALL, interpolation=Interpolation.POINT)
    try:
        return bytes(cast("Mapping[SideDataType, SideData]", small.side_data)[kind])
    except (KeyError, ValueError):
        return None
