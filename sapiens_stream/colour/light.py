"""Signals to light and back, as the Recommendations define them. Light is in cd/m2; arrays are float, (..., 3) RGB."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sapiens_stream.colour.meaning import BT709, BT2020, DISPLAY_P3, HLG, PQ, SDR_WHITE, USUAL_PEAK

Floats = npt.NDArray[np.float64]

# SMPTE ST 2084, and BT.2100 table 4.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_PEAK = 10_000.0

# ARIB STD-B67, and BT.2100 table 5.
_A = 0.17883277
_B, _C = 1 - 4 * _A, 0.5 - _A * np.log(4 * _A)
_HLG_GAMMA = 1.2  # of the system, for a display whose peak is 1000 cd/m2
_LUMINANCE_2020 = np.array((0.2627, 0.6780, 0.0593))

# BT.2100 tables 6 and 7.
_LMS_OF_RGB = np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096
_ICTCP_OF_LMS = np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096
_RGB_OF_LMS = np.linalg.inv(_LMS_OF_RGB)
_LMS_OF_ICTCP = np.linalg.inv(_ICTCP_OF_LMS)

_SDR_GAMMA = 2.4  # BT.1886, for a black of no light

_D65 = (0.3127, 0.3290)
# (x, y) of red, green and blue, by the primaries' number in H.273.
_CHROMATICITIES = {
    BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}


def pq_light(signal: Floats) -> Floats:
    """The EOTF of PQ."""
    root = np.clip(signal, 0, 1) ** (1 / _M2)
    return np.asarray(_PQ_PEAK * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def pq_signal(light: Floats) -> Floats:
    """The inverse of `pq_light`."""
    power = (np.clip(light, 0, _PQ_PEAK) / _PQ_PEAK) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def hlg_light(signal: Floats) -> Floats:
    """The EOTF of HLG on a display of 1000 cd/m2: the inverse of the OETF, then the OOTF `Y ** 0.2 * E`."""
    signal = np.clip(signal, 0, 1)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)
    return np.asarray(USUAL_PEAK * scene * (scene @ _LUMINANCE_2020)[..., None] ** (_HLG_GAMMA - 1))


def hlg_signal(light: Floats) -> Floats:
    """The inverse of `hlg_light`."""
    display = np.clip(light / USUAL_PEAK, 0, 1)
    luminance = np.maximum(display @ _LUMINANCE_2020, 1e-9)[..., None]
    scene = np.clip(display * luminance ** (1 / _HLG_GAMMA - 1), 0, 1)
    return np.asarray(
        np.where(scene <= 1 / 12, np.sqrt(3 * scene), _A * np.log(np.maximum(12 * scene - _B, 1e-9)) + _C)
    )


def sdr_light(signal: Floats) -> Floats:
    """The EOTF of BT.1886 on a display that shows white at `SDR_WHITE`."""
    return np.asarray(SDR_WHITE * np.clip(signal, 0, 1) ** _SDR_GAMMA)


def sdr_signal(light: Floats) -> Floats:
    """The inverse of `sdr_light`; what is brighter than white, or has a negative part, is clipped."""
    return np.asarray(np.clip(light / SDR_WHITE, 0, 1) ** (1 / _SDR_GAMMA))


def ictcp_of(light: Floats) -> Floats:
    """Light of BT.2020's primaries as I, Ct and Cp of PQ."""
    return np.asarray(pq_signal(light @ _LMS_OF_RGB.T) @ _ICTCP_OF_LMS.T)


def ictcp_light(ictcp: Floats) -> Floats:
    """The inverse of `ictcp_of`."""
    return np.asarray(pq_light(ictcp @ _LMS_OF_ICTCP.T) @ _RGB_OF_LMS.T)


def light_of(signal: Floats, transfer: int) -> Floats:
    """The light of R'G'B' in 0..1 with these transfer characteristics; any but PQ and HLG are SDR."""
    return {PQ: pq_light, HLG: hlg_light}.get(transfer, sdr_light)(signal)


def signal_of(light: Floats, transfer: int) -> Floats:
    """The inverse of `light_of`."""
    return {PQ: pq_signal, HLG: hlg_signal}.get(transfer, sdr_signal)(light)


def between_primaries(source: int, target: int) -> Floats:
    """The 3x3 matrix from linear RGB of one set of primaries to another; one that is not in the table is BT.709."""
    return np.asarray(np.linalg.inv(_to_xyz(target)) @ _to_xyz(source))


def luminance_weights(primaries: int) -> Floats:
    """(3,) what linear red, green and blue add to luminance; of primaries that are not in the table those of BT.709."""
    return np.asarray(_to_xyz(primaries)[1])


def chromaticities(primaries: int) -> tuple[float, ...]:
    """x and y of red, green, blue and white; of primaries that are not in the table those of BT.709."""
    corners = _CHROMATICITIES.get(primaries, _CHROMATICITIES[BT709])
    return tuple(value for xy in (*corners, _D65) for value in xy)


def _to_xyz(primaries: int) -> Floats:
    corners = np.array([_xyz(*xy) for xy in _CHROMATICITIES.get(primaries, _CHROMATICITIES[BT709])]).T
    return np.asarray(corners * np.linalg.solve(corners, np.array(_xyz(*_D65))))


def _xyz(x: float, y: float) -> tuple[float, float, float]:
    return x / y, 1.0, (1 - x - y) / y
