"""R'G'B' to the code values of Y'CbCr and back, as Recommendation ITU-T H.273 says."""

from __future__ import annotations

import numpy as np

from sapiens_stream.colour.light import Floats
from sapiens_stream.colour.meaning import BT601, BT709, BT2020, Colour

# Luma weights of red and blue, by the matrix coefficients' number.
_BT601_WEIGHTS = (0.299, 0.114)
_LUMA_WEIGHTS = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    BT601: _BT601_WEIGHTS,
    6: _BT601_WEIGHTS,
    7: (0.212, 0.087),  # SMPTE 240M
    BT2020: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}


def to_codes(signal: Floats, colour: Colour) -> Floats:
    """(..., 3) R'G'B' in 0..1 to (..., 3) Y, Cb, Cr as they are stored, not yet rounded.

    A matrix that is not in the table counts as BT.601, which is how swscale reads an untagged video.
    """
    red, blue = _LUMA_WEIGHTS.get(colour.matrix, _BT601_WEIGHTS)
    luma = signal @ (red, 1 - red - blue, blue)
    chroma = (signal[..., 2] - luma) / (2 - 2 * blue), (signal[..., 0] - luma) / (2 - 2 * red)
    black, span, middle, chroma_span = _levels(colour)
    return np.stack([luma * span + black, *(each * chroma_span + middle for each in chroma)], axis=-1)


def from_codes(codes: Floats, colour: Colour) -> Floats:
    """The inverse of `to_codes`; what no R'G'B' can be lies outside 0..1."""
    red, blue = _LUMA_WEIGHTS.get(colour.matrix, _BT601_WEIGHTS)
    black, span, middle, chroma_span = _levels(colour)
    luma = (codes[..., 0] - black) / span
    reds = luma + (codes[..., 2] - middle) / chroma_span * (2 - 2 * red)
    blues = luma + (codes[..., 1] - middle) / chroma_span * (2 - 2 * blue)
    greens = (luma - red * reds - blue * blues) / (1 - red - blue)
    return np.stack([reds, greens, blues], axis=-1)


def _levels(colour: Colour) -> tuple[int, int, int, int]:
    """Black, the span from there to white, the chroma of grey, and the span of chroma."""
    unit = 2 ** (colour.bits - 8)
    if colour.full_range:
        return 0, 256 * unit - 1, 128 * unit, 256 * unit - 1
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit
