"""What an HDR source says of its brightness, in the words of the encoders that can hold it."""

from __future__ import annotations

from collections.abc import Mapping

import av

from sapiens_stream.colour.tags import LightLevel, MasteringDisplay, light_level, mastering_display
from sapiens_stream.frame import Frame


def hdr_options(codec: str, first: Frame, options: Mapping[str, str]) -> dict[str, str]:
    """The encoder's options that tell the mastering display and the light level of the source's `first` frame.

    Empty where the source tells neither or the encoder has no words for it. What `options` say already is kept.
    """
    if not (first.colour.hdr and first.colour.plain_matrix and isinstance(first.decoded, av.VideoFrame)):
        return {}
    display, light = mastering_display(first.decoded), light_level(first.decoded)
    match codec:
        case "libx265":
            name, said = "x265-params", _x265(display, light)
        case "libsvtav1":
            name, said = "svtav1-params", _svt_av1(display, light)
        case _:
            return {}
    return {name: ":".join(filter(None, [options.get(name), *said]))} if said else {}


def _x265(display: MasteringDisplay | None, light: LightLevel | None) -> list[str]:
    """In steps of 0.00002, and of 0.0001 cd/m2, as in HEVC's messages."""
    said = []
    if display is not None:
        corners = zip("GBR", (display.green, display.blue, display.red), strict=True)
        points = [*corners, ("WP", display.white)]
        places = "".join(f"{name}({round(x * 50_000)},{round(y * 50_000)})" for name, (x, y) in points)
        lowest, highest = (round(each * 10_000) for each in display.luminance)
        said.append(f"master-display={places}L({highest},{lowest})")
    if light is not None:
        said.append(f"max-cll={light.brightest},{light.brightest_mean}")
    return said


def _svt_av1(display: MasteringDisplay | None, light: LightLevel | None) -> list[str]:
    said = []
    if display is not None:
        corners = zip("GBR", (display.green, display.blue, display.red), strict=True)
        points = [*corners, ("WP", display.white)]
        places = "".join(f"{name}({x:.5f},{y:.5f})" for name, (x, y) in points)
        said.append(f"mastering-display={places}L({display.luminance[1]:.4f},{display.luminance[0]:.4f})")
    if light is not None:
        said.append(f"content-light={light.brightest},{light.brightest_mean}")
    return said
