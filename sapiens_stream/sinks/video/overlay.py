"""The overlay as a video with the source's times, colours and sound."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import av
from isal import isal_zlib

from sapiens_stream.colouring import Colouring
from sapiens_stream.errors import OutputError, cause
from sapiens_stream.frame import Frame, Segmentation, SourceInfo
from sapiens_stream.painting import Painter
from sapiens_stream.settings import AUDIO, CODEC, PRESET, Audio
from sapiens_stream.sinks.files import aside, discard, is_still, make_empty, not_written
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sinks.video.companions import which_audio
from sapiens_stream.sinks.video.encoders import (
    container_for,
    encoder_named,
    pixel_format,
    require_size,
    require_working,
)
from sapiens_stream.sinks.video.mp4 import finish, is_readable
from sapiens_stream.sinks.video.painted_frames import FramePainter, painted_format
from sapiens_stream.sinks.video.writer import EncoderSettings, VideoWriter

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

__all__ = ["OverlayVideo", "container_for"]

_FAILURES = (OSError, ValueError, av.FFmpegError)


class OverlayVideo(Sink):
    """Writes the painted frames as one video.

    Each frame keeps its time, to the tick in mp4 and mov, to the millisecond in mkv and webm, whose clock that is;
    `recording.Clock` tells of the few that can't be kept. Size, sample aspect ratio and colour tags are the source's.
    Pixels are written upright, 8-bit 4:2:0 where the encoder takes it; an odd size is made even by doubling the last
    line or column, since browsers play nothing but 4:2:0. What the source has beside its pictures goes along, as far
    as the container can hold it: chapters, tags, subtitles, sounds.

    While it grows the file lies beside `path` (".NAME.part.EXT") and is playable even if the process is killed;
    `close` finishes it, after a failure too. Without a single frame there is no file.

    Args:
        path: of the video; its ending says the container.
        source: where its frames come from.
        painter: paints the classes.
        colouring: what the colours tell, classes or people.
        codec: the encoder, by FFmpeg's name.
        crf: its quality, lower is better; None: the encoder's own.
        preset: its speed.
        audio: which sounds are kept: "all" (True), "first" or "none" (False).
        gpu: the number of the CUDA card that NVENC encodes on; None: the first.
        warn: called with a sentence about what cannot be kept.

    Raises:
        UsageError: at once, for a `codec`, `crf` or `preset` that can't be.
        OutputError: for a source larger than the encoder takes, and, by `write` and `close`, where writing fails.

    >>> with Video("clip.mp4") as video:
    ...     overlay = OverlayVideo(Path("overlay.mp4"), video.info, Painter(SAPIENS))
    ...     for result in segment(video):
    ...         overlay.write(result)
    ...     overlay.close()
    """

    ordered: ClassVar[bool] = True

    def __init__(
        self,
        path: Path,
        source: SourceInfo,
        painter: Painter,
        *,
        codec: str = CODEC,
        crf: int | None = None,
        preset: str = PRESET,
        audio: Audio | bool = AUDIO,
        gpu: int | None = None,
        colouring: Colouring | None = None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        require_working(codec)
        encoder = encoder_named(codec)
        self._settings = EncoderSettings(
            codec=codec, options=encoder.settings(crf, preset, gpu=gpu), audio=which_audio(audio)
        )
        self._bytes_per_pixel = encoder.bytes_per_pixel
        self._codec = codec
        if source.size is not None:
            require_size(codec, source.size, path)
        self._path = path
        self._growing = aside(path)
        self._made: os.stat_result | None = None
        self._source = source
        self._painter = painter
        self._colouring = colouring or Colouring()
        self._warn = warn
        self._frames: FramePainter | None = None
        self._writer: VideoWriter | None = None
        self._written: list[Path] = []

    def prepare(self, result: Segmentation) -> Callable[[], av.VideoFrame]:
        if self._frames is None:
            self._frames = self._painting(result.frame)
        return partial(self._frames.paint, result)

    def write(self, result: Segmentation) -> None:
        self.write_prepared(result, self.prepare(result)())

    def write_prepared(self, result: Segmentation, prepared: av.VideoFrame) -> None:
        try:
            if self._writer is None:
                self._writer = self._begin(result)
            self._writer.write(result.frame, prepared)
        except _FAILURES as error:
            raise not_written(self._path, error) from error

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return int(size[0] * size[1] * self._bytes_per_pixel)

    def measure(self, result: Segmentation) -> int:
        # What makes a class map large when it is compressed makes the overlay large: noise, which no encoder foresees.
        # On noisy maps that flicker x264 took 0.6 times as much as deflate, ffv1 twice as much with its own share.
        noise = len(isal_zlib.compress(result.class_map.tobytes(), 1))
        return self.bytes_per_frame(result.class_map.shape) + noise

    def close(self) -> None:
        recording, self._writer = self._writer, None
        if recording is None:
            if self._made is not None:
                discard(self._growing)
            return
        failure: BaseException | None = None
        try:
            recording.close()
        except _FAILURES as error:
            failure = error
        try:
            if self._made is None or not is_still(self._growing, self._made):
                raise OutputError(f"{self._path} can't be written: {self._growing.name} is gone, or another file")
            if is_readable(self._growing):
                finish(self._growing, self._path, self._warn, recording.complete)
                self._written = [self._path]
        except OSError as error:
            raise not_written(self._path, error) from error
        finally:
            recording.release()
        if not self._written:
            discard(self._growing)
        if failure is None and not self._written:
            failure = OutputError("nothing of it can be read back")
        if failure is not None:
            if self._written:
                raise OutputError(f"{self._path} is cut short: {cause(failure)}") from failure
            raise not_written(self._path, failure) from failure

    @property
    def planned(self) -> list[Path]:
        return [self._path]

    @property
    def written(self) -> list[Path]:
        return list(self._written)

    def _painting(self, first: Frame) -> FramePainter:
        encoded = pixel_format(self._codec, deep=first.colour.bits > 8)
        form = painted_format(encoded, first)
        return FramePainter(self._painter, first.size, self._warn, format=form, colouring=self._colouring)

    def _begin(self, result: Segmentation) -> VideoWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        require_size(self._codec, result.frame.size, self._path)
        self._made = make_empty(self._growing)
        assert self._frames is not None
        return VideoWriter(self._growing, result.frame, self._source, self._frames, self._settings, self._warn)


def overlay_video(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return OverlayVideo(
        target.path,
        target.source,
        target.painter,
        codec=outputs.codec,
        crf=outputs.crf,
        preset=outputs.preset,
        audio=outputs.audio,
        gpu=outputs.gpu,
        colouring=target.colouring,
        warn=target.warn,
    )
