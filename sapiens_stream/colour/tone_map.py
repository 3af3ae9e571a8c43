"""HDR and wide gamut to SDR of BT.709, and SDR colours into an HDR or wide-gamut picture.

The tone curve is the electrical-electrical transfer function (EETF) of Report ITU-R BT.2390 (section 5.4), with black
at no light on both sides, so that its lift of black is none. With E1 = PQ(light) / PQ(peak of the source), and
maxLum = PQ(203 cd/m2) / PQ(peak of the source):

    KS = 1.5 maxLum - 0.5                    where the curve leaves the straight line (94 cd/m2 for a peak of 1000)
    E2 = E1                                  below KS; above, the Hermite spline with T = (E1 - KS) / (1 - KS):
    E2 = (2T^3 - 3T^2 + 1) KS + (T^3 - 2T^2 + T) (1 - KS) + (3T^2 - 2T^3) maxLum

It is applied to the intensity of ICtCp (Recommendation ITU-R BT.2100, tables 6 and 7), one of the report's choices,
since that keeps hues; as the report says, C2 = C1 min(I1 / I2, I2 / I1) for Ct and Cp. SDR white is put at 203 cd/m2,
where Report ITU-R BT.2408 has diffuse white: so what was SDR before it was put into an HDR picture comes back as it
was, up to the bright tones that the curve presses together. From BT.2020's gamut to that of BT.709 it is the matrix in
linear light and a hard clip, the simple way of Report ITU-R BT.2407; SDR is encoded for a display of BT.1886.
"""

from __future__ import annotations

import numpy as np

from sapiens_stream.colour.light import (
    Floats,
    between_primaries,
    ictcp_light,
    ictcp_of,
    light_of,
    pq_signal,
    sdr_light,
    sdr_signal,
    signal_of,
)
from sapiens_stream.colour.meaning import BT709, BT2020, SDR_WHITE, Colour


def to_sdr(signal: Floats, colour: Colour) -> Floats:
    """R'G'B' in 0..1 of `colour` to R'G'B' in 0..1 of BT.709, SDR."""
    light = light_of(signal, colour.transfer)
    if not colour.hdr:
        return sdr_signal(light @ between_primaries(colour.primaries, BT709).T)
    light = light @ between_primaries(colour.primaries, BT2020).T
    return sdr_signal(_tone_mapped(light, colour.peak) @ between_primaries(BT2020, BT709).T)


def from_sdr(signal: Floats, colour: Colour) -> Floats:
    """R'G'B' in 0..1 of BT.709, SDR, as the same colours in `colour`'s R'G'B', white at 203 cd/m2 where that is HDR."""
    if not colour.beyond_sdr:
        return signal
    return signal_of(sdr_light(signal) @ between_primaries(BT709, colour.primaries).T, colour.transfer)


def eetf(signal: Floats, peak: float) -> Floats:
    """The tone curve, PQ signal to PQ signal, for a source that is no brighter than `peak` cd/m2."""
    top, white = pq_signal(np.array(peak)), pq_signal(np.array(SDR_WHITE))
    highest = white / top
    if highest >= 1:
        return np.minimum(signal, white)
    knee = 1.5 * highest - 0.5
    level = np.clip(signal / top, 0, 1)
    t = (level - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * highest
    return np.asarray(np.where(level < knee, level, spline) * top)


def _tone_mapped(light: Floats, peak: float) -> Floats:
    """Linear RGB of BT.2020, cd/m2."""
    intensity, *chroma = np.moveaxis(ictcp_of(light), -1, 0)
    mapped = eetf(intensity, peak)
    tiny = 1e-9
    less = np.minimum(mapped / np.maximum(intensity, tiny), intensity / np.maximum(mapped, tiny))
    return ictcp_light(np.stack([mapped, *(each * less for each in chroma)], axis=-1))
