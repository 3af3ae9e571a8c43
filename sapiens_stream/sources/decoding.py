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

from sapiens_stream.colour.conversion import array_of
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.containers.limits import ffmpeg_limit, too_large
from sapiens_stream.errors import InputError, cause
from sapiens_stream.frame import UInt8Array
from sapiens_stream.quiet import keep_quiet
from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.sources import exr, jpeg, png
from sapiens_stream.sources.exif import ORIENTATION_TAG, upright_turns
from sapiens_stream.sources.header import picture_size
from sapiens_stream.sources.heif_picture import read_heif
from sapiens_stream.sources.kinds import BMP, EXR, HEIF, JPEG, PNG, TIFF, WEBP, Kind, kind_of, not_read
from sapiens_stream.sources.tiff import first_directory, has_straight_alpha, with_pixels_alone

Decoder = Literal["pyav", "opencv"]
DECODERS: tuple[Decoder, ...] = ("pyav", "opencv")

BYTES_PER_PIXEL, _BYTES_OF_FLOATS = 12, 20
"""What a pixel takes while its photo is decoded: the decoder's planes, RGB, and one step between them."""

_FILE_BYTES_PER_PIXEL = 8  # an uncompressed one with 16 bits of red, green, blue and alpha


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo; the fields are those of `Frame`. `damaged` says what is wrong with it, None for nothing; `deep`
    that its file may have more than 8 bits."""

    decoded: av.VideoFrame | UInt8Array
    quarter_turns: int = 0
    mirrored: bool = False
    damaged: str | None = None
    deep: bool = False


@dataclass(frozen=True, eq=False)
class PhotoFile:
    """A photo that is known to be small enough to be decoded, and not cut short."""

    content: bytes
    kind: Kind
    size: tuple[int, int]

    @property
    def bytes_to_decode(self) -> int:
        """An upper estimate of the memory that decoding takes."""
        a_pixel = _BYTES_OF_FLOATS if self.kind is EXR else BYTES_PER_PIXEL
        return len(self.content) + a_pixel * self.size[0] * self.size[1]


def open_photo(path: Path, max_pixels: int = MAX_PIXELS) -> PhotoFile:
    """Reads a photo's file and its header. Raises InputError, which says why but not which file."""
    keep_quiet()
    content = _content(path, max_pixels)
    kind = kind_of(content)
    if kind is None:
        raise InputError("its content is not a picture, or of a kind that is not read")
    if not kind.read:
        raise InputError(not_read(kind))
    if _cut_short(kind, content):
        raise InputError(f"the {kind.title} file is cut short")
    size = picture_size(content, kind)
    if size is None:
        raise InputError(f"the {kind.title} file is damaged: its header makes no sense")
    if size[0] * size[1] > max_pixels:
        raise InputError(too_large(size, max_pixels))
    return PhotoFile(content, kind, size)


def decode_photo(file: PhotoFile, decoder: Decoder, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decodes a photo by the decoder, or by the other one where the first cannot; alpha is dropped.

    What is damaged is decoded as far as it goes. Raises InputError, which says why but not which file.
    """
    try:
        photo = _decode(file, decoder, max_pixels)
    except (MemoryError, av.error.MemoryError):
        photo = None
    except cv2.error as error:
        if error.code != cv2.Error.STS_NO_MEM:
            raise
        photo = None
    else:
        if photo is None:
            raise InputError(f"the {file.kind.title} file is damaged, or of a kind that is not read")
    if photo is None:
        height, width = file.size
        raise InputError(f"out of memory: it is {width}x{height} pixels large, and there is not enough to decode it")
    return photo


def _decode(file: PhotoFile, decoder: Decoder, max_pixels: int) -> Photo | None:
    content, kind = file.content, file.kind
    if kind is HEIF:
        heif = read_heif(content, max_pixels=max_pixels)
        damaged = _as_far(kind) if heif.damaged else None
        return Photo(heif.rgb, heif.quarter_turns, heif.mirrored, damaged)
    if kind is PNG and png.is_damaged(content):
        return _mended_png(content, max_pixels)
    if kind is JPEG:
        return _decode_jpeg(content, decoder, max_pixels)
    plain = with_pixels_alone(content) if kind is TIFF else content
    turns = upright_turns(content)
    strict = _by_pyav(plain, kind, max_pixels, turns)
    if kind is PNG and strict is None and (mended := _mended_png(content, max_pixels)) is not None:
        return mended  # its checksums are right, its rows too few
    tolerant = None if strict else _by_pyav(plain, kind, max_pixels, turns, strict=False)
    # OpenCV (libtiff) knows kinds of TIFF that FFmpeg gets wrong without a word, such as JPEG within TIFF.
    opencv_first = decoder == "opencv" or (kind is TIFF and not has_straight_alpha(content))
    photo = (_by_opencv(content) or strict) if opencv_first else (strict or _by_opencv(content))
    # What a tolerant FFmpeg refuses too is of a kind that it does not know, and perhaps whole.
    return _damaged(photo or tolerant, kind) if tolerant else photo


def _mended_png(content: bytes, max_pixels: int) -> Photo | None:
    whole = png.mended(content)
    return _damaged(_by_pyav(whole, PNG, max_pixels, upright_turns(content)) if whole else None, PNG)


def _decode_jpeg(content: bytes, decoder: Decoder, max_pixels: int) -> Photo | None:
    turns = upright_turns(content)
    picture = content
    strict = _by_pyav(content, JPEG, max_pixels, turns)
    if strict is None:  # perhaps at something that is not the picture's own
        picture = jpeg.without_strays(content)
        strict = _by_pyav(picture, JPEG, max_pixels, turns)
    damaged = jpeg.is_damaged(content)
    if strict is None and not damaged:  # where a tolerant FFmpeg refuses it too, it is a kind that FFmpeg does not know
        damaged = _by_pyav(picture, JPEG, max_pixels, turns, strict=False) is not None
    if damaged:
        rgb = jpeg.as_far_as_it_goes(content)
        photo = Photo(rgb, *turns) if rgb is not None else _by_pyav(picture, JPEG, max_pixels, turns, strict=False)
        return _damaged(photo, JPEG)
    if decoder == "pyav" and strict is not None:
        return strict
    # OpenCV does not take a file for a JPEG whose third byte is astray.
    photo = _by_opencv(content) or _by_opencv(jpeg.without_strays(content))
    return (photo and Photo(photo.decoded, *turns)) or strict


def _damaged(photo: Photo | None, kind: Kind) -> Photo | None:
    return photo and Photo(photo.decoded, photo.quarter_turns, photo.mirrored, _as_far(kind))


def _as_far(kind: Kind) -> str:
    return f"the {kind.title} file is damaged; decoded as far as it goes"


def _content(path: Path, max_pixels: int) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError("it is a folder, not a photo")
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
            raise InputError("it is not a file")
        most = max(2**26, _FILE_BYTES_PER_PIXEL * max_pixels)
        if status.st_size > most:
            raise InputError(f"the file is {status.st_size} bytes long; a photo has up to {most}")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(cause(error)) from None
    except MemoryError:
        raise InputError(f"out of memory: the file is {status.st_size} bytes long") from None
    if not content:
        raise InputError("the file is empty")
    return content


def _cut_short(kind: Kind, content: bytes) -> bool:
    """Whether the end is missing. Decoders fill what is missing of a JPEG with grey and call it done."""
    if kind is JPEG:  # before the scan there may be a thumbnail with an end of its own
        return content.find(b"\xff\xd9", jpeg.scan_start(content)) < 0
    if kind is PNG:
        return b"IEND" not in content[-4096:] and b"IEND" not in content
    if kind is EXR:
        return exr.is_cut_short(content)
    if kind is WEBP:
        return int.from_bytes(content[4:8], "little") + 8 > len(content)
    if kind is BMP:
        return int.from_bytes(content[10:14], "little") >= len(content)
    if kind is TIFF and content[2:3] != b"+" and content[3:4] != b"+":
        order: Literal["little", "big"] = "little" if content.startswith(b"II") else "big"
        return int.from_bytes(content[4:8], order) >= len(content)
    return False


def _by_pyav(
    content: bytes, kind: Kind, max_pixels: int, turns: tuple[int, bool] | None = None, *, strict: bool = True
) -> Photo | None:
    frame = decoded_frame(content, kind, max_pixels, strict=strict)
    if frame is None:
        return None
    decoded: av.VideoFrame | UInt8Array = frame
    if kind is EXR:
        decoded = exr.shown(frame)
    elif frame.format.components[0].bits > 8 and not colour_of(frame).beyond_sdr:
        # swscale does not bring 16 bits to 8 as everybody else does
        decoded = (array_of(frame, "rgb48le") >> 8).astype(np.uint8)
    elif frame.format.name in ("yuvj420p", "yuvj422p"):
        decoded = _with_smooth_chroma(frame)
    return Photo(decoded, *(upright_turns(content) if turns is None else turns))


def decoded_frame(content: bytes, kind: Kind, max_pixels: int, *, strict: bool = True) -> av.VideoFrame | None:
    """As FFmpeg decodes a photo; None where it cannot, or, if `strict`, something is wrong with it."""
    if kind.codec is None:
        return None
    context = cast(VideoCodecContext, av.CodecContext.create(kind.codec, "r"))
    context.thread_count = 1  # photos are decoded side by side already
    context.options = {"max_pixels": ffmpeg_limit(max_pixels)}
    if strict:
        context.options |= {"err_detect": "explode"}
    if kind is EXR and (layer := exr.layer_of(content)):
        context.options |= {"layer": layer}
    if kind is JPEG:  # the transform that libjpeg, and so OpenCV, has: nearer to what it gives by a quarter
        context.options |= {"idct": "int"}
    try:
        frames = [*context.decode(av.Packet(content)), *context.decode(None)]
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        return None
    if not frames or (strict and frames[0].is_corrupt):
        return None
    return frames[0]


def _with_smooth_chroma(frame: av.VideoFrame) -> UInt8Array:
    """(H, W, 3) RGB of a JPEG whose chroma is subsampled, interpolated between the centres of its samples.

    As libjpeg does, and so OpenCV; swscale repeats samples unless it is set to take fifteen times as long.
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
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise
        return None
    if bgr is None:
        return None
    # Of a TIFF file OpenCV applies the orientation whatever the flags.
    turned = ORIENTATION_TAG in first_directory(content)
    turns = (0, False) if turned else upright_turns(content)
    return Photo(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), *turns)
