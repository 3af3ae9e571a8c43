"""Text on a picture. OpenCV draws it: in a sans-serif of its own from 5.0 on, in Hershey's strokes before."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_FACE = cv2.FONT_HERSHEY_SIMPLEX
_SCALE = 1 / 28  # of the face for a size of one pixel


def line_height(size: int) -> int:
    """Pixels from one line's top to the next."""
    return round(size * 1.45)


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Pixels."""
    return int(cv2.getTextSize(text, _FACE, size * _SCALE, 2 if bold else 1)[0][0])


def write(canvas: UInt8Array, text: str, x: int, y: int, size: int, colour: Colour, *, bold: bool = False) -> None:
    """Writes a line whose box of `line_height` has its upper left corner at (x, y); what falls outside is cut off."""
    baseline = y + round(size * 1.08)
    cv2.putText(canvas, text, (x, baseline), _FACE, size * _SCALE, colour, 2 if bold else 1, cv2.LINE_AA)


def fitted(text: str, size: int, width: int) -> str:
    """The text, its end replaced by dots where it is wider than `width` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "...", size) > width:
        text = text[:-1]
    return text.rstrip() + "..."


def wrapped(text: str, size: int, width: int, lines: int) -> list[str]:
    """The text in at most so many lines of `width` pixels, broken between words; the rest becomes dots."""
    broken: list[str] = []
    for word in text.split():
        joined = f"{broken[-1]} {word}" if broken else word
        if broken and text_width(joined, size) <= width:
            broken[-1] = joined
        elif len(broken) < lines:
            broken.append(word)
        else:
            broken[-1] = joined
    return [fitted(line, size, width) for line in broken]
