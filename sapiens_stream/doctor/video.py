"""What the FFmpeg of this installation can do on this machine, found by trying: a build knows more than works."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.stream import VideoStream

from sapiens_stream.errors import cause
from sapiens_stream.quiet import keep_quiet
from sapiens_stream.settings import PRESET
from sapiens_stream.sinks.video.encoders import ENCODERS, about_hardware, pixel_format

CAMERA_INPUTS = ("v4l2", "avfoundation", "dshow")
STREAM_INPUTS = ("rtsp", "x11grab", "gdigrab", "lavfi")


@dataclass(frozen=True, kw_only=True)
class Ability:
    """Something that works, or the reason why it does not."""

    name: str
    problem: str | None = None

    @property
    def works(self) -> bool:
        return self.problem is None


def encoders() -> tuple[Ability, ...]:
    """Each encoder that an overlay can be written with, tried on a few frames."""
    return tuple(Ability(name=name, problem=_encoder_problem(name)) for name in ENCODERS)


def hardware_decoders() -> tuple[Ability, ...]:
    """Each decoding device that this build of FFmpeg knows, tried on a few frames of H.264."""
    known = hwdevices_available()
    if not known:
        return ()
    try:
        clip = _encoded("libx264", container="mp4")
    except (av.FFmpegError, OSError, ValueError) as error:
        return tuple(Ability(name=name, problem=f"no H.264 to try it on: {_reason(error)}") for name in known)
    return tuple(Ability(name=name, problem=_decoder_problem(name, clip)) for name in known)


def inputs() -> tuple[Ability, ...]:
    """The cameras' and streams' formats; those of cameras are the operating system's own, so most lack two of three."""
    found = []
    for name in (*CAMERA_INPUTS, *STREAM_INPUTS):
        try:
            av.format.ContainerFormat(name, "r")
            found.append(Ability(name=name))
        except ValueError:
            found.append(Ability(name=name, problem="not in this build of FFmpeg"))
    return tuple(found)


def cameras() -> tuple[str, ...]:
    """Video devices of Linux; other systems name theirs only by opening them."""
    return tuple(str(path) for path in sorted(Path("/dev").glob("video*")))


def _encoder_problem(name: str) -> str | None:
    try:
        return None if _encoded(name, container="matroska").getbuffer().nbytes else "it gives no data"
    except av.codec.codec.UnknownCodecError:
        return "not in this build of FFmpeg"
    except (av.FFmpegError, OSError, ValueError) as error:
        return _reason(error) + about_hardware(name)


def _encoded(name: str, container: str) -> io.BytesIO:
    """Five grey frames of 256x256."""
    keep_quiet()
    file = io.BytesIO()
    form = pixel_format(name)
    options = ENCODERS[name].settings(None, PRESET)
    with av.open(file, "w", format=container) as clip:
        stream = cast(VideoStream, clip.add_stream(name, 25, options=options))
        stream.width, stream.height, stream.pix_fmt = 256, 256, form
        for _ in range(5):
            clip.mux(stream.encode(av.VideoFrame(256, 256, form)))
        clip.mux(stream.encode())
    return file


def _decoder_problem(name: str, clip: io.BytesIO) -> str | None:
    clip.seek(0)
    try:
        with av.open(clip, "r", hwaccel=HWAccel(name, allow_software_fallback=False)) as container:
            next(container.decode(video=0))
    except (av.FFmpegError, OSError, ValueError, StopIteration) as error:
        return _reason(error)
    except RuntimeError:
        return "it does not decode H.264"
    return None


def _reason(error: BaseException) -> str:
    text = cause(error)
    # FFmpeg's word for a device's library or driver that is not there.
    return "no such device here" if text in ("Operation not permitted", "Unknown error occurred") else text
