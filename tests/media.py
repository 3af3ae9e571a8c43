"""Makes the photos and videos that the tests read: small, moving, and each frame tells its own number.

A picture's upper half holds its number as ten bars, white for 1, the highest bit at the left; its lower half is red at
the left and blue at the right, with a grey bar that moves. So `number_of` can tell which frame a picture is, after a
lossy codec too, and whether it is upright.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.logging
import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]

av.logging.set_level(None)

BITS = 10
SIZE = (96, 160)
RATE = Fraction(25)


def picture(number: int, size: tuple[int, int] = SIZE) -> UInt8Array:
    """(height, width, 3) uint8 RGB that bears `number`, 0 to 1023; not smaller than 32 x 60."""
    height, width = size
    rgb = np.zeros((height, width, 3), np.uint8)
    for bar in range(BITS):
        if number >> (BITS - 1 - bar) & 1:
            rgb[: height // 2, bar * width // BITS : (bar + 1) * width // BITS] = 235
    rgb[height // 2 :, : width // 2] = (200, 30, 30)
    rgb[height // 2 :, width // 2 :] = (30, 30, 200)
    start = width // 4 + number * 4 % (width // 2)
    rgb[height * 3 // 4 :, start : start + width // 16] = 128
    return rgb


def number_of(rgb: UInt8Array) -> int:
    """The number that an upright `picture` bears; AssertionError if it lies on its side, or is mirrored or another."""
    height, width = rgb.shape[:2]
    patch = max(2, height // 12)
    row = height * 5 // 8
    left = rgb[row - patch : row + patch, width // 12 : width // 6].mean((0, 1))
    right = rgb[row - patch : row + patch, -width // 6 : -width // 12].mean((0, 1))
    assert left[0] - left[2] > 80, f"lower left is not red but {left.round()}"
    assert right[2] - right[0] > 80, f"lower right is not blue but {right.round()}"
    number = 0
    for bar in range(BITS):
        middle = (2 * bar + 1) * width // (2 * BITS)
        bit = rgb[height // 6 : height // 3, middle - 1 : middle + 2].mean()
        number = number << 1 | int(bit > 128)
    return number


def frame_times(frames: int, rate: Fraction = RATE, start: Fraction = Fraction(0), vfr: bool = False) -> list[Fraction]:
    """Seconds at which the frames of `make_video` begin; with `vfr` the steps are one, two and three frames long."""
    steps = [0, *((1 + number % 3 if vfr else 1) for number in range(frames - 1))]
    return [start + Fraction(int(step)) / rate for step in np.cumsum(steps)]


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = SIZE,
    frames: int = 12,
    rate: Fraction = RATE,
    start: Fraction = Fraction(0),
    vfr: bool = False,
    b_frames: int | None = None,
    interlaced: bool = False,
    rotation: int = 0,
    mirrored: bool = False,
    sar: Fraction | None = None,
    audio: str | None = None,
    audio_first: bool = False,
    audio_seconds: float | None = None,
    second_size: tuple[int, int] | None = None,
    colours: dict[str, int] | None = None,
    options: dict[str, str] | None = None,
    format: str | None = None,
    fragmented: bool = False,
) -> Path:
    """Writes `picture(0)`, `picture(1)`, ... to `path`; its extension names the container. Returns the path.

    `size` is (height, width) as stored. `rotation` (counter-clockwise, a multiple of 90) and then `mirrored` are what a
    player has to do to show it upright: the pictures are stored the other way about, so that they are upright once
    that is done. `audio` names an audio codec: a tone, as long as the video or `audio_seconds`. `second_size` adds a
    second, smaller video stream of black frames. `colours` sets codec attributes such as `color_trc`; `options` go
    to the encoder.
    """
    movflags = {"movflags": "frag_keyframe+empty_moov"} if fragmented else {}
    with av.open(str(path), "w", format=format, options=movflags) as container:
        tone = _add_audio(container, audio) if audio and audio_first else None
        stream = _add_video(container, codec, pix_fmt, size, rate, options)
        second = _add_video(container, codec, pix_fmt, second_size, rate, options) if second_size else None
        tone = _add_audio(container, audio) if audio and not audio_first else tone
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if interlaced:
            stream.codec_context.flags |= 1 << 18 | 1 << 29  # AV_CODEC_FLAG_INTERLACED_DCT, _ME: coded as fields
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        if sar is not None:
            stream.sample_aspect_ratio = sar
        for name, value in (colours or {}).items():
            setattr(stream.codec_context, name, value)
        time_base = _time_base(rate)
        for number, time in enumerate(frame_times(frames, rate, start, vfr)):
            stored = _stored(number, size, rotation, mirrored)
            container.mux(stream.encode(_frame(stored, pix_fmt, time, time_base)))
            if second is not None and second_size is not None:
                black = np.zeros((*second_size, 3), np.uint8)
                container.mux(second.encode(_frame(black, pix_fmt, time, time_base)))
        for each in filter(None, (stream, second)):
            container.mux(each.encode(None))
        if tone is not None:
            _write_tone(container, tone, audio_seconds if audio_seconds is not None else float(frames / rate), start)
    return path


def frames_of(path: Path) -> int:
    """How many frames a video has, decoded."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def make_photo(path: Path, rgb: UInt8Array, *, orientation: int | None = None, quality: int = 95) -> Path:
    """Writes a photo by OpenCV in the format of its extension; a JPEG with an EXIF `orientation` (1 to 8) if given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix.lower(), rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    content = data.tobytes()
    path.write_bytes(content[:2] + exif_segment(orientation) + content[2:] if orientation else content)
    return path


def exif(orientation: int) -> bytes:
    """A big-endian TIFF block that holds nothing but the orientation."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, orientation, 0, 0])
    return b"MM\x00\x2a\x00\x00\x00\x08" + b"\x00\x01" + entry + bytes(4)


def exif_segment(orientation: int) -> bytes:
    """The JPEG segment (APP1) with `exif`."""
    content = b"Exif\x00\x00" + exif(orientation)
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


def as_stored(rgb: UInt8Array, orientation: int) -> UInt8Array:
    """How a camera that writes this EXIF orientation stores an upright picture."""
    upright_to_stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(upright_to_stored[orientation](rgb))


def _stored(number: int, size: tuple[int, int], rotation: int, mirrored: bool) -> UInt8Array:
    turns = rotation // 90 % 4
    upright = picture(number, size[::-1] if turns % 2 else size)
    return np.ascontiguousarray(np.rot90(upright[:, ::-1] if mirrored else upright, -turns))


def _time_base(rate: Fraction) -> Fraction:
    return 1 / (rate * 20)  # finer than a frame, so that any start or step is a whole number of ticks


def _frame(rgb: UInt8Array, pix_fmt: str, time: Fraction, time_base: Fraction) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
    frame.pts, frame.time_base = round(time / time_base), time_base
    return frame


def _add_video(
    container: Any,
    codec: str,
    pix_fmt: str,
    size: tuple[int, int],
    rate: Fraction,
    options: dict[str, str] | None,
) -> Any:
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width = size
    stream.pix_fmt = pix_fmt
    return stream


def _add_audio(container: Any, codec: str) -> Any:
    return container.add_stream(codec, rate=48000, layout="mono")


def _write_tone(container: Any, stream: Any, seconds: float, start: Fraction) -> None:
    samples: Sequence[float] = np.arange(int(seconds * 48000))
    tone = (np.sin(np.multiply(samples, 2 * np.pi * 440 / 48000)) * 8000).astype(np.int16)
    for begin in range(0, len(tone), 1024):
        frame = av.AudioFrame.from_ndarray(tone[None, begin : begin + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = begin + round(start * 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
