"""Photos that have more than the 8 bits that a model sees, read again in all of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sapiens_stream.colour.conversion import array_of
from sapiens_stream.colour.original import Original
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.sources import exr
from sapiens_stream.sources.decoding import PhotoFile, decoded_frame, open_photo
from sapiens_stream.sources.kinds import DPX, EXR, JPEG_2000, PNG, PNM, TIFF
from sapiens_stream.sources.tiff import BITS_PER_SAMPLE, first_directory, has_straight_alpha

_PNG_DEPTH = 24  # where its header has the bits of a sample


def may_be_deep(file: PhotoFile) -> bool:
    """Whether a photo may have more than 8 bits, by its header."""
    if file.kind is PNG:
        return file.content[_PNG_DEPTH] > 8
    if file.kind is TIFF:
        return first_directory(file.content).get(BITS_PER_SAMPLE, 8) > 8
    return file.kind in (DPX, EXR, JPEG_2000, PNM)


def read_original(path: Path, max_pixels: int) -> Original | None:
    """A photo as `decode_photo` reads it, but in its own depth; None where that is 8 bits, or HDR, or not known.

    Raises InputError where it cannot be opened any more.
    """
    file = open_photo(path, max_pixels)
    if file.kind.codec is None or (file.kind is TIFF and not has_straight_alpha(file.content)):
        return _by_opencv(file.content)
    frame = decoded_frame(file.content, file.kind, max_pixels)
    frame = frame or decoded_frame(file.content, file.kind, max_pixels, strict=False)
    if frame is None:
        return None
    if file.kind is EXR:
        return Original(exr.light(frame), exr.chromaticities_of(file.content))
    if frame.format.components[0].bits <= 8 or colour_of(frame).beyond_sdr:
        return None
    return Original(np.asarray(array_of(frame, "rgb48le")))


def _by_opencv(content: bytes) -> Original | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return None if bgr is None or bgr.dtype != np.uint16 else Original(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
