"""What the numbers of a picture mean. Loads nothing of FFmpeg, since a window's process must not."""

from __future__ import annotations

from dataclasses import dataclass

# Code points of ITU-T H.273, which are FFmpeg's numbers too.
BT709 = 1
UNSPECIFIED = 2
BT601 = 5
YCGCO = 8  # a matrix
BT2020 = 9  # both the primaries and the matrix with non-constant luminance
DISPLAY_P3 = 12  # primaries
OF_PRIMARIES = 12  # the matrix that follows from the primaries, with non-constant luminance
ICTCP = 14  # a matrix
PQ = 16  # transfer characteristics of SMPTE ST 2084
HLG = 18  # of ARIB STD-B67
LIMITED_RANGE, FULL_RANGE = 1, 2  # FFmpeg's AVColorRange

_PLAIN_MATRICES = frozenset((0, BT709, UNSPECIFIED, 3, 4, BT601, 6, 7, BT2020))

SDR_WHITE = 203.0
"""cd/m2 at which diffuse white, and with it an SDR picture's 100 %, lies in an HDR picture (Report ITU-R BT.2408)."""

USUAL_PEAK = 1000.0
"""cd/m2 of the brightest that a picture is taken to hold where it does not say; it is the nominal peak of HLG."""


@dataclass(frozen=True, kw_only=True)
class Colour:
    """What a picture's numbers mean. `matrix`, `primaries` and `transfer` are code points of ITU-T H.273.

    `peak` is the brightest that an HDR picture holds, cd/m2; 0 for SDR. `unreadable` says why its colours cannot be
    shown right, where that is so.
    """

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    full_range: bool = False
    bits: int = 8
    peak: float = 0.0
    unreadable: str | None = None

    @property
    def hdr(self) -> bool:
        return self.transfer in (PQ, HLG)

    @property
    def plain_matrix(self) -> bool:
        """Whether the matrix is one that FFmpeg's swscale takes, and most encoders and players."""
        return self.matrix in _PLAIN_MATRICES

    @property
    def beyond_sdr(self) -> bool:
        """Whether a screen or a model that takes the numbers for SDR of BT.709 gets the picture wrong.

        HDR, the wide gamut of BT.2020, and what has no `plain_matrix`. Whatever says nothing of its colours counts as
        SDR.
        """
        return self.hdr or self.primaries == BT2020 or not self.plain_matrix
