"""Mattes as pictures: numbered, a file a frame, or one for each photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sapiens_stream.frame import Segmentation, SourceInfo
from sapiens_stream.settings import MATTE_FILE
from sapiens_stream.sinks.mattes.edges import Floats, MatteMaker
from sapiens_stream.sinks.mattes.kinds import SequenceKind, sequence_kind
from sapiens_stream.sinks.mattes.pixels import levels, linear_of, rgb_of, with_alpha
from sapiens_stream.sinks.mattes.told import alpha_word, described
from sapiens_stream.sinks.numbered import Numbered
from sapiens_stream.sinks.openexr import encode_exr, require_openexr
from sapiens_stream.sinks.png import encode_png
from sapiens_stream.sinks.sink import Sink

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target


class MatteSequence(Sink):
    """Writes mattes below `root`: of a video CLIP_matte/CLIP_matte.000000.png, ..., of photos NAME_matte.png.

    PNG holds the picture as SDR with its alpha, OpenEXR linear light as 32-bit floats, 1 being SDR white, in the
    source's primaries. With `alone` there is one channel, the matte (grey, or "A"). `said` is what is opaque, in words.
    """

    def __init__(
        self,
        root: Path,
        source: SourceInfo,
        kind: SequenceKind,
        maker: MatteMaker,
        *,
        numbered: Numbered | None = None,
        alone: bool = False,
        premultiplied: bool = False,
        said: str = "",
    ) -> None:
        if kind.extension == ".exr":
            require_openexr("a matte as OpenEXR")
        self._root = root
        self._source = source
        self._kind = kind
        self._maker = maker
        self._alone = alone
        self._premultiplied = premultiplied
        self._said = said
        self.numbered = numbered
        self.endings = (kind.ending,)

    def write(self, result: Segmentation) -> None:
        data = self._encode(result)
        with self._file_of(self._root, result, self.endings[0]) as file:
            file.write(data)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return int(size[0] * size[1] * self._kind.bytes_per_pixel / (4 if self._alone else 1))

    def measure(self, result: Segmentation) -> int:
        return int(len(self._encode(result)) * 1.3)

    def _encode(self, result: Segmentation) -> bytes:
        matte = self._maker(result)
        if self._kind.extension == ".exr":
            return self._exr(result, matte)
        deep = self._kind.word == "png16"
        text = {"Comment": self._said}
        if self._alone:
            return encode_png(levels(matte, np.uint16 if deep else np.uint8), text=text)
        rgba = with_alpha(rgb_of(result.frame, deep=deep), matte, premultiplied=self._premultiplied)
        return encode_png(rgba, text=text)

    def _exr(self, result: Segmentation, matte: Floats) -> bytes:
        said = {"comments": self._said}
        aspect = result.frame.pixel_aspect
        if self._alone:
            return encode_exr({"A": matte}, said, pixel_aspect=aspect)
        linear, corners = linear_of(result.frame)
        if self._premultiplied:
            linear = linear * matte[..., None]
        channels = {name: np.ascontiguousarray(linear[..., place]) for place, name in enumerate("RGB")}
        said["alpha"] = alpha_word(self._premultiplied)
        return encode_exr(channels | {"A": matte}, said, chromaticities=corners, pixel_aspect=aspect)


def matte_sequence(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    numbered = (
        None
        if target.source.kind == "photos"
        else Numbered(MATTE_FILE, sequence_kind(outputs.matte).extension, outputs.start_number)
    )
    return MatteSequence(
        target.path,
        target.source,
        sequence_kind(outputs.matte),
        MatteMaker(outputs.only, outputs.edge),
        numbered=numbered,
        alone=outputs.matte_only,
        premultiplied=outputs.premultiplied,
        said=described(outputs, target.painter.classes, alone=outputs.matte_only),
    )
