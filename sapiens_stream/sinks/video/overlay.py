"""The overlay as a video with the source's times, colours and sound."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from isal import isal_zlib

from sapiens_stream.colouring import Colouring
from sapiens_stream.frame import Frame, Segmentation, SourceInfo
from sapiens_stream.painting import Painter
from sapiens_stream.settings import AUDIO, CODEC, PRESET, Audio
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sinks.video.companions import which_audio
from sapiens_stream.sinks.video.encoded import EncodedVideo
from sapiens_stream.sinks.video.encoders import (
    LIMITED_RANGE_ALONE,
    container_for,
    encoder_named,
    pixel_format,
    require_size,
    require_working,
)
from sapiens_stream.sinks.video.painted_frames import FramePainter, painted_format
from sapiens_stream.sinks.video.writer import EncoderSettings

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

__all__ = ["OverlayVideo", "container_for"]


class OverlayVideo(EncodedVideo):
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
        super().__init__(path, source, warn)
        require_working(codec)
        encoder = encoder_named(codec)
        self._settings = EncoderSettings(
            codec=codec, options=encoder.settings(crf, preset, gpu=gpu), audio=which_audio(audio), tag=encoder.tag
        )
        self._bytes_per_pixel = encoder.bytes_per_pixel
        self._codec = codec
        if source.size is not None:
            require_size(codec, source.size, path)
        self._painter = painter
        self._colouring = colouring or Colouring()

    def frames_like(self, first: Frame) -> FramePainter:
        encoded = pixel_format(self._codec, deep=first.colour.bits > 8)
        form = painted_format(encoded, first)
        return FramePainter(
            self._painter,
            first,
            self._warn,
            format=form,
            limited=self._codec in LIMITED_RANGE_ALONE,
            colouring=self._colouring,
        )

    def settings_for(self, first: Frame) -> EncoderSettings:
        return self._settings

    def check(self, size: tuple[int, int]) -> None:
        require_size(self._codec, size, self._path)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return int(size[0] * size[1] * self._bytes_per_pixel)

    def measure(self, result: Segmentation) -> int:
        # What makes a class map large when it is compressed makes the overlay large: noise, which no encoder foresees.
        # On noisy maps that flicker x264 took 0.6 times as much as deflate, ffv1 twice as much with its own share.
        noise = len(isal_zlib.compress(result.class_map.tobytes(), 1))
        return self.bytes_per_frame(result.class_map.shape) + noise


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
