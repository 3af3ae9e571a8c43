"""What pictures of a film tell of it in their headers: OpenEXR and DPX."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

from sapiens_stream.sources.time_code import unpacked_time_code

HEADER_BYTES = 1 << 16
"""Of a file, in which all that is sought here lies."""

_EXR_RATE = b"framesPerSecond\0rational\0"
_EXR_ASPECT = b"pixelAspectRatio\0float\0"
_EXR_TIME_CODE = b"timeCode\0timecode\0"
# SMPTE 268M: where the place of the pixels is told, a pixel's width and height, the rates of film and of television,
# and the time code.
_DPX_PIXELS, _DPX_ASPECT, _DPX_RATES, _DPX_TIME_CODE = 4, 1628, (1724, 1940), 1920
_NTSC = Fraction(1000, 1001)
_NEAR_NTSC = 0.005  # frames a second: people write 23.98 for 24000/1001


@dataclass(frozen=True)
class FilmHeader:
    """`rate` is frames a second, `pixel_aspect` the width of a pixel over its height; None where it is not told.

    `time_code` is "hh:mm:ss:ff", and "hh:mm:ss;ff" at a rate of television where numbers are dropped.
    """

    rate: Fraction | None = None
    pixel_aspect: Fraction | None = None
    time_code: str | None = None


def film_header(content: bytes) -> FilmHeader:
    """Reads the first `HEADER_BYTES` of a picture of any kind; what makes no sense counts as not told."""
    if content.startswith(b"\x76\x2f\x31\x01"):
        return FilmHeader(
            _exr_rate(content),
            _sensible_aspect(_after(content, _EXR_ASPECT, "<if", 4)),
            _time_code(_after(content, _EXR_TIME_CODE, "<iI", 8)),
        )
    if content.startswith((b"SDPX", b"XPDS")):
        order = ">" if content.startswith(b"SDPX") else "<"
        # The headers of film and of television may be left out, as FFmpeg does: pixels lie there then.
        content = content[: int(_at(content, _DPX_PIXELS, f"{order}I") or len(content))]
        rates = (_exact(_at(content, place, f"{order}f")) for place in _DPX_RATES)
        width, height = _at(content, _DPX_ASPECT, f"{order}I"), _at(content, _DPX_ASPECT + 4, f"{order}I")
        aspect = width / height if width and height else None
        return FilmHeader(
            next((each for each in rates if each is not None), None),
            _sensible_aspect(aspect),
            _time_code(_at(content, _DPX_TIME_CODE, f"{order}I") or None),  # 0 where nobody set it
        )
    return FilmHeader()


def exact_rate(rate: float) -> Fraction | None:
    """Frames a second as they are meant: 23.976 is 24000/1001. None for what is no rate of pictures, 1 to 1000."""
    if not (math.isfinite(rate) and 1 <= rate <= 1000):
        return None
    whole = round(rate / float(_NTSC))
    if abs(rate - float(whole * _NTSC)) < _NEAR_NTSC:
        return whole * _NTSC
    return Fraction(rate).limit_denominator(1001)


def _exact(rate: float | None) -> Fraction | None:
    return None if rate is None else exact_rate(rate)


def _exr_rate(content: bytes) -> Fraction | None:
    at = content.find(_EXR_RATE)
    numbers = content[at + len(_EXR_RATE) :][:12]
    if at < 0 or len(numbers) < 12:
        return None
    size, above, below = struct.unpack("<iiI", numbers)
    rate = Fraction(above, below) if size == 8 and below else None
    return rate if rate is not None and 1 <= rate <= 1000 else None


def _time_code(bits: float | None) -> str | None:
    return None if bits is None else unpacked_time_code(int(bits))


def _after(content: bytes, name: bytes, form: str, size: int) -> float | None:
    """The number of an attribute, whose size in bytes comes before it."""
    at = content.find(name)
    value = content[at + len(name) :][: struct.calcsize(form)]
    if at < 0 or len(value) < struct.calcsize(form):
        return None
    told, number = struct.unpack(form, value)
    return float(number) if told == size else None


def _at(content: bytes, place: int, form: str) -> float | None:
    """A number; None beyond the end, and where DPX has all bits set, which is "undefined"."""
    field = content[place : place + 4]
    return None if len(field) < 4 or field == b"\xff" * 4 else float(struct.unpack(form, field)[0])


def _sensible_aspect(aspect: float | None) -> Fraction | None:
    if aspect is None or not (math.isfinite(aspect) and 0.1 <= aspect <= 10):
        return None
    return Fraction(aspect).limit_denominator(1000)
