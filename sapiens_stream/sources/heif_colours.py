"""The colours of a HEIF file's picture: its planes to RGB."""

from __future__ import annotations

from collections.abc import Iterable

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.colour.conversion import array_of
from sapiens_stream.colour.matrix import from_codes, levels
from sapiens_stream.colour.meaning import Colour
from sapiens_stream.colour.planes import Planes
from sapiens_stream.colour.sdr import sdr_of
from sapiens_stream.colour.tags import completed
from sapiens_stream.frame import UInt8Array
from sapiens_stream.sources.heif import Item

_STRIP = 2**20  # pixels that are converted at a time


class HeifColours:
    """Of planes to RGB: what the file says of its colours, else what the coded picture says, else BT.601."""

    def __init__(self, frame: av.VideoFrame, item: Item) -> None:
        name = frame.format.name
        matrix, primaries, transfer = int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc)
        full = int(frame.color_range) == 2 or name.startswith(("yuvj", "gbr"))
        for each in item.properties:
            if each.kind == b"colr" and each.content[:4] == b"nclx" and len(each.content) >= 11:
                primaries, transfer, matrix = (int.from_bytes(each.content[at : at + 2], "big") for at in (4, 6, 8))
                full = bool(each.content[10] & 0x80)
        self._gbr = name.startswith("gbr")
        bits = frame.format.components[0].bits
        self._colour = completed(
            Colour(matrix=matrix, primaries=primaries, transfer=transfer, full_range=full, bits=bits)
        )
        black, span, *_ = levels(self._colour)
        self._grey = 255 / span, -255 * black / span
        self._transform = _to_rgb(self._colour)

    def rgb(self, planes: Iterable[np.ndarray]) -> UInt8Array:
        first, *chroma = planes
        if self._colour.beyond_sdr and chroma and not self._gbr:
            shown = sdr_of(Planes(first, *chroma), self._colour)
            return array_of(shown, "rgb24")
        height, width = first.shape
        rgb = np.empty((height, width, 3), np.uint8)
        if chroma:
            down, across = (round(whole / part) for whole, part in zip(first.shape, chroma[0].shape, strict=True))
            full = across * chroma[0].shape[1], down * chroma[0].shape[0]
            if (across, down) != (1, 1):
                chroma = [cv2.resize(each, full, interpolation=cv2.INTER_LINEAR)[:height, :width] for each in chroma]
        rows = max(1, _STRIP // width)
        for top in range(0, height, rows):
            strip = slice(top, top + rows)
            if not chroma:
                grey = np.clip(np.rint(first[strip] * self._grey[0] + self._grey[1]), 0, 255).astype(np.uint8)
                rgb[strip] = grey[:, :, None]
            elif self._gbr:
                green, blue, red = first[strip], chroma[0][strip], chroma[1][strip]
                stacked = np.stack([red, green, blue], 2) * self._grey[0] + self._grey[1]
                rgb[strip] = np.clip(np.rint(stacked), 0, 255).astype(np.uint8)
            else:
                stacked = np.stack([first[strip], *(each[strip] for each in chroma)], 2).astype(np.float32)
                rgb[strip] = np.clip(np.rint(cv2.transform(stacked, self._transform)), 0, 255).astype(np.uint8)
        return rgb


def _to_rgb(colour: Colour) -> npt.NDArray[np.float32]:
    """(3, 4): Y, Cb, Cr as coded to RGB of 0 to 255, for a matrix that is linear."""
    nought, *units = 255 * from_codes(np.vstack([np.zeros(3), np.eye(3)]), colour)
    return np.stack([*(unit - nought for unit in units), nought], axis=1).astype(np.float32)
