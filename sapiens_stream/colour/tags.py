"""What a frame says of its colours."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import av
from av.sidedata.sidedata import Type as SideDataType

from sapiens_stream.colour.conversion import lock_of
from sapiens_stream.colour.matrix import is_known
from sapiens_stream.colour.meaning import BT2020, FULL_RANGE, PQ, UNSPECIFIED, USUAL_PEAK, Colour
from sapiens_stream.colour.side_data import side_data_of

_DARKEST_PEAK, _BRIGHTEST_PEAK = 100.0, 10_000.0  # the latter is all that PQ can say
_DOLBY = "Dolby Vision of profile 5, which has no picture for other players: colours, and so classes, will be wrong"
_UNKNOWN = (
    "its colours are stored in a way that is not read (matrix coefficients {} of ITU-T H.273): they may look wrong"
)
_FULL_RANGE_FORMATS = ("yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p")


def colour_of(frame: av.VideoFrame) -> Colour:
    """What a decoded frame says, `completed`."""
    bits = frame.format.components[0].bits
    with lock_of(frame):
        said = Colour(
            matrix=frame.colorspace,
            primaries=frame.color_primaries,
            transfer=frame.color_trc,
            full_range=frame.color_range == FULL_RANGE or frame.format.name in _FULL_RANGE_FORMATS,
            bits=bits,
        )
    if not is_known(said):
        said = replace(said, unreadable=_UNKNOWN.format(said.matrix))
    if not said.hdr:
        if bits > 8 and said.transfer == UNSPECIFIED and side_data_of(frame, SideDataType.DOVI_METADATA) is not None:
            return replace(said, unreadable=_DOLBY)
        return said
    return completed(said, peak=_peak(frame) if said.transfer == PQ else USUAL_PEAK)


def completed(said: Colour, *, peak: float = USUAL_PEAK) -> Colour:
    """What an HDR picture leaves unsaid filled in as in Recommendation ITU-R BT.2100; SDR as it is."""
    if not said.hdr:
        return said
    return replace(
        said,
        matrix=BT2020 if said.matrix == UNSPECIFIED else said.matrix,
        primaries=BT2020 if said.primaries == UNSPECIFIED else said.primaries,
        peak=peak,
    )


def _peak(frame: av.VideoFrame) -> float:
    """The brightest pixel (MaxCLL), else the brightest that the mastering display could show; to two digits.

    So tables that are made for a peak are few, whatever a stream says from frame to frame.
    """
    light, display = light_level(frame), mastering_display(frame)
    peak = (light.brightest if light else 0) or (display.luminance[1] if display else 0) or USUAL_PEAK
    return float(f"{min(max(peak, _DARKEST_PEAK), _BRIGHTEST_PEAK):.2g}")


@dataclass(frozen=True)
class LightLevel:
    """The content light level of CTA-861.3, cd/m2: MaxCLL and MaxFALL."""

    brightest: int
    brightest_mean: int


@dataclass(frozen=True)
class MasteringDisplay:
    """The display of SMPTE ST 2086 on which a film was graded: CIE 1931 (x, y), and (lowest, highest) cd/m2."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]
    luminance: tuple[float, float]


def light_level(frame: av.VideoFrame) -> LightLevel | None:
    data = side_data_of(frame, SideDataType.CONTENT_LIGHT_LEVEL)
    return None if data is None or len(data) < 8 else LightLevel(*struct.unpack_from("=2I", data))


def mastering_display(frame: av.VideoFrame) -> MasteringDisplay | None:
    """None where the frame does not tell all of it."""
    data = side_data_of(frame, SideDataType.MASTERING_DISPLAY_METADATA)
    if data is None or len(data) < 88:
        return None
    *rationals, has_primaries, has_luminance = struct.unpack_from("=22i", data)  # FFmpeg's AVMasteringDisplayMetadata
    if not (has_primaries and has_luminance and all(rationals[1::2])):
        return None
    values = [numerator / denominator for numerator, denominator in zip(rationals[::2], rationals[1::2], strict=True)]
    pairs = [(values[place], values[place + 1]) for place in range(0, 10, 2)]
    return MasteringDisplay(*pairs)
