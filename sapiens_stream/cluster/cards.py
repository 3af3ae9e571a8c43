"""What cards and models cost by what is published of them: for an estimate, where nothing was measured."""

from __future__ import annotations

from sapiens_stream.errors import UsageError

# TFLOP/s of matrices in fp16 or bf16, dense, by the makers' data sheets.
_CARDS = {
    "b200": 2250.0,
    "h200": 989.0,
    "h100": 989.0,
    "a100": 312.0,
    "l40s": 362.0,
    "l4": 121.0,
    "a10": 125.0,
    "rtx4090": 165.0,
    "v100": 125.0,
    "t4": 65.0,
}
# TFLOP a frame, head and attention included, by the published architectures.
_MODELS = {
    "sapiens-0.3b": 4.73,
    "sapiens-0.6b": 7.38,
    "sapiens-1b": 11.26,
    "sapiens2-0.4b": 3.59,
    "sapiens2-0.8b": 6.80,
    "sapiens2-1b": 11.54,
    "sapiens2-5b": 36.7,
}
REACHED = 0.4
"""The share of a card's matrix rate that is taken to be reached.

Measured of sapiens-0.3b from a video to masks: on an H200 0.35, compiled 0.42, on an H100 0.33. Assumed for other cards
and models; larger models reach more.
"""


def estimate(model: str, card: str) -> tuple[float, str]:
    """Frames/s of one card, and how that comes about. Raises UsageError where no figure is known.

    >>> estimate("sapiens-1b", "h100")[0] > 30
    True
    """
    key = card.lower().replace(" ", "").replace("-", "")
    if key not in _CARDS:
        raise UsageError(f"--card {card}: known are {', '.join(_CARDS)}; or give --frames-per-second as measured on it")
    name = model.partition(":")[0]
    if name not in _MODELS:
        raise UsageError(f"what a frame of {model} takes is not known; give --frames-per-second as measured")
    rate = REACHED * _CARDS[key] / _MODELS[name]
    how = f"{_MODELS[name]:g} TFLOP a frame, {REACHED:.0%} of the {_CARDS[key]:g} TFLOP/s of a {key}"
    return rate, f"an estimate, not measured: {how}"
