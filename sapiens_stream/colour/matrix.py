"""R'G'B' to the code values of Y'CbCr and back, as Recommendation ITU-T H.273 says."""

from __future__ import annotations

import numpy as np

from sapiens_stream.colour.light import Floats, ictcp_light, ictcp_of, luminance_weights, pq_light, pq_signal
from sapiens_stream.colour.meaning import BT601, BT709, BT2020, ICTCP, OF_PRIMARIES, PQ, YCGCO, Colour

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
_YCGCO_OF_RGB = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])


def is_known(colour: Colour) -> bool:
    """Whether its code values are read as the Recommendation says, and not only as near to it as may be."""
    return colour.plain_matrix or colour.matrix in (YCGCO, OF_PRIMARIES) or _is_ictcp(colour)


def to_codes(signal: Floats, colour: Colour) -> Floats:
    """(..., 3) R'G'B' in 0..1 to (..., 3) Y, Cb, Cr as they are stored, not yet rounded.

    A matrix that is not known counts as BT.601, which is how swscale reads an untagged video, and one with constant
    luminance as that without.
    """
    parts = ictcp_of(pq_light(signal)) if _is_ictcp(colour) else signal @ _ycc_of_rgb(colour).T
    black, span, middle, chroma_span = levels(colour)
    return np.asarray(parts * (span, chroma_span, chroma_span) + (black, middle, middle))


def from_codes(codes: Floats, colour: Colour) -> Floats:
    """The inverse of `to_codes`; what no R'G'B' can be lies outside 0..1."""
    black, span, middle, chroma_span = levels(colour)
    parts = (codes - (black, middle, middle)) / (span, chroma_span, chroma_span)
    if _is_ictcp(colour):
        return pq_signal(ictcp_light(parts))
    return np.asarray(parts @ np.linalg.inv(_ycc_of_rgb(colour)).T)


def _is_ictcp(colour: Colour) -> bool:
    """Of PQ; that of HLG is another."""
    return colour.matrix == ICTCP and colour.transfer == PQ


def _ycc_of_rgb(colour: Colour) -> Floats:
    """(3, 3): Y of 0 to 1, Cb and Cr of -0.5 to 0.5 of R'G'B'."""
    if colour.matrix == YCGCO:
        return _YCGCO_OF_RGB
    if colour.matrix in (OF_PRIMARIES, OF_PRIMARIES + 1):
        red, _, blue = luminance_weights(colour.primaries)
    else:
        red, blue = _LUMA_WEIGHTS.get(colour.matrix, _BT601_WEIGHTS)
    luma = np.array((red, 1 - red - blue, blue))
    return np.stack([luma, ((0, 0, 1) - luma) / (2 - 2 * blue), ((1, 0, 0) - luma) / (2 - 2 * red)])


def levels(colour: Colour) -> tuple[int, int, int, int]:
    """Black, the span from there to white, the chroma of grey, and the span of chroma."""
    unit = 2 ** (colour.bits - 8)
    if colour.full_range:
        return 0, 256 * unit - 1, 128 * unit, 256 * unit - 1
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit
