"""A matte as a video: with the picture in an alpha channel, or alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_stream.frame import Frame, SourceInfo
from sapiens_stream.settings import AUDIO, Audio
from sapiens_stream.sinks.mattes.edges import MatteMaker
from sapiens_stream.sinks.mattes.frames import MatteFrames
from sapiens_stream.sinks.mattes.kinds import VideoKind
from sapiens_stream.sinks.mattes.told import described
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sinks.video.companions import which_audio
from sapiens_stream.sinks.video.encoded import EncodedVideo
from sapiens_stream.sinks.video.encoders import LIMITED_RANGE_ALONE
from sapiens_stream.sinks.video.writer import EncoderSettings

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target


class MatteVideo(EncodedVideo):
    """Writes the picture with the classes opaque, or with `alone` the matte, to `path` as a video of a `kind`.

    The picture keeps its size, odd or even, and the depth and colours of the source as far as the kind has them: ProRes
    stays HDR and 10 bits, PNG 16 bits, the others are SDR of 8. The alpha is straight unless `premultiplied`. `said` is
    the file's comment.
    """

    def __init__(
        self,
        path: Path,
        source: SourceInfo,
        kind: VideoKind,
        maker: MatteMaker,
        *,
        alone: bool = False,
        premultiplied: bool = False,
        audio: Audio | bool = AUDIO,
        said: str = "",
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        super().__init__(path, source, warn)
        self._kind = kind
        self._maker = maker
        self._alone = alone or not kind.coloured[0]
        self._premultiplied = premultiplied and not self._alone
        self._audio = which_audio(audio)
        self._said = said

    def frames_like(self, first: Frame) -> MatteFrames:
        return MatteFrames(
            self._maker,
            first,
            self._warn,
            format=self._format(first),
            alone=self._alone,
            premultiplied=self._premultiplied,
            limited=self._kind.codec in LIMITED_RANGE_ALONE,
        )

    def settings_for(self, first: Frame) -> EncoderSettings:
        return EncoderSettings(
            codec=self._kind.codec,
            options=self._kind.options,
            audio=self._audio,
            format=self._format(first),
            stream_tags={} if self._alone else self._kind.alpha_tags,
            file_tags={"comment": self._said},
        )

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return int(size[0] * size[1] * self._kind.bytes_per_pixel / (4 if self._alone else 1))

    def _format(self, first: Frame) -> str:
        if self._alone:
            return self._kind.alone[self._maker.edge != "hard"]
        return self._kind.coloured[first.colour.bits > 8 and not first.colour.beyond_sdr]


def matte_video(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    from sapiens_stream.sinks.mattes.kinds import video_kind

    kind = video_kind(outputs.matte)
    return MatteVideo(
        target.path,
        target.source,
        kind,
        MatteMaker(outputs.only, outputs.edge),
        alone=outputs.matte_only,
        premultiplied=outputs.premultiplied,
        audio=outputs.audio,
        said=described(outputs, target.painter.classes, alone=outputs.matte_only or not kind.coloured[0]),
        warn=target.warn,
    )
