"""One photo, from its file to its pixels."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext

from sapiens_stream.errors import InputError, cause
from sapiens_stream.frame import UInt8Array
from sapiens_stream.sources.exif import START_OF_SCAN, jpeg_segments, upright_turns

Decoder = Literal["pyav", "opencv"]
DECODERS: tuple[Decoder, ...] = ("pyav", "opencv")

_TITLES = {"mjpeg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WebP", "tiff": "TIFF"}

# OpenCV writes to standard error what the caller of this file is told in an exception.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo; the fields are those of `Frame`."""

    decoded: av.VideoFrame | UInt8Array
    quarter_turns: int = 0
    mirrored: bool = False


def read_photo(path: Path, decoder: Decoder) -> Photo:
    """Decodes a photo by the decoder, or by the other one where the first can not; alpha is dropped.

    Raises InputError, which says why but not which file.
    """
    content = _content(path)
    codec = _codec(content)
    if codec is not None and _cut_short(codec, content):
        raise InputError(f"the {_TITLES[codec]} file is cut short")
    # OpenCV (libtiff) knows kinds of TIFF that FFmpeg gets wrong without a word, such as JPEG within TIFF.
    if decoder == "opencv" or codec == "tiff":
        photo = _by_opencv(content) or _by_pyav(content, codec)
    else:
        photo = _by_pyav(content, codec) or _by_opencv(content)
    if photo is None:
        raise InputError(f"the {_TITLES[codec]} file is damaged" if codec else "its content is not a picture")
    return photo


def _content(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError("it is a folder, not a photo")
        if not stat.S_ISREG(mode):  # a pipe would be waited for without end
            raise InputError("it is not a file")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(cause(error)) from None
    if not content:
        raise InputError("the file is empty")
    return content


def _codec(content: bytes) -> str | None:
    """FFmpeg's name for what the content is, whatever the file is called."""
    if content.startswith(b"\xff\xd8\xff"):
        return "mjpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"BM"):
        return "bmp"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    if content.startswith((b"II*\x00", b"MM\x00*")):
        return "tiff"
    return None


def _cut_short(codec: str, content: bytes) -> bool:
    """Whether the end is missing. Decoders fill what is missing of a JPEG with grey and call it done."""
    match codec:
        case "mjpeg":
            # Before the scan there may be a thumbnail with an end of its own.
            scan = next((start for marker, start, _ in jpeg_segments(content) if marker == START_OF_SCAN), len(content))
            return content.find(b"\xff\xd9", scan) < 0
        case "png":
            return b"IEND" not in content[-4096:] and b"IEND" not in content
        case "webp":
            return int.from_bytes(content[4:8], "little") + 8 > len(content)
        case "bmp":
            return int.from_bytes(content[10:14], "little") >= len(content)
        case _:
            order: Literal["little", "big"] = "little" if content.startswith(b"II") else "big"
            return int.from_bytes(content[4:8], order) >= len(content)


def _by_pyav(content: bytes, codec: str | None) -> Photo | None:
    if codec is None:
        return None
    context = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
    context.thread_count = 1  # photos are decoded side by side already
    if codec != "tiff":  # where it is an error not to know a tag
        context.options = {"err_detect": "explode"}
    if codec == "mjpeg":  # the transform that libjpeg, and so OpenCV, has: nearer to what it gives by a quarter
        context.options = {"err_detect": "explode", "idct": "int"}
    try:
        frames = [*context.decode(av.Packet(content)), *context.decode(None)]
    except av.FFmpegError:
        return None
    if not frames or frames[0].is_corrupt:
        return None
    decoded: av.VideoFrame | UInt8Array = frames[0]
    if frames[0].format.components[0].bits > 8:  # swscale does not bring 16 bits to 8 as everybody else does
        decoded = (np.asarray(frames[0].to_ndarray(format="rgb48le"), np.uint16) >> 8).astype(np.uint8)
    elif frames[0].format.name in ("yuvj420p", "yuvj422p"):
        decoded = _with_smooth_chroma(frames[0])
    return Photo(decoded, *upright_turns(content))


def _with_smooth_chroma(frame: av.VideoFrame) -> UInt8Array:
    """(H, W, 3) RGB of a JPEG whose chroma is subsampled, interpolated between the centres of its samples.

    As libjpeg does, and so OpenCV; swscale repeats samples unless it is told to take fifteen times as long.
    """
    luma, *chroma = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    )
    height, width = luma.shape
    full = (2 * chroma[0].shape[1], height if chroma[0].shape[0] == height else 2 * chroma[0].shape[0])
    blue, red = (cv2.resize(plane, full, interpolation=cv2.INTER_LINEAR)[:height, :width] for plane in chroma)
    return np.asarray(cv2.cvtColor(cv2.merge([luma, red, blue]), cv2.COLOR_YCrCb2RGB), np.uint8)


def _by_opencv(content: bytes) -> Photo | None:
    """As `cv2.imread` reads a file, upright."""
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if bgr is None else Photo(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
