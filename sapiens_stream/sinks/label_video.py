"""Class maps as a video: exact, small, and readable by whatever plays videos."""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext

from sapiens_stream.classes import ClassSet
from sapiens_stream.containers import ebml
from sapiens_stream.containers.frame_index import CUE_EVERY
from sapiens_stream.errors import OutputError, cause
from sapiens_stream.frame import Frame, Segmentation, SourceInfo
from sapiens_stream.quiet import keep_quiet
from sapiens_stream.sinks.files import not_written
from sapiens_stream.sinks.growing import GrowingFile
from sapiens_stream.sinks.held_frames import HeldFrames, hold_frames
from sapiens_stream.sinks.label_head import LabelHead
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sinks.video.writer import Clock

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_FAILURES = (OSError, ValueError, av.FFmpegError)
_SLICES = ("4", "1", "16", "64")  # FFV1 takes no picture in any number of them; 4 take the least time and space
_SMALL = 64 * 64  # pixels, below which each slice is a burden


class LabelVideoSink(Sink):
    """Writes the class maps to `path` (.mkv) as one video: FFV1, 8-bit grey, a grey level being a class id.

    Every frame is a key frame and bit-exact. Times are those of the source, to the nanosecond for players, to the tick
    for `sapiens_stream.LabelVideo`; of what can't be kept `Clock` tells. Tags hold the classes, their colours, the
    model, and, from `identify`, the run's fingerprint. Classes outside `only` (ids; None: all) are written as
    background. Frames of another size than the first are scaled to that, without mixing classes.

    While it grows the file lies beside `path` (".NAME.part.mkv"). It is not written by FFmpeg's muxer, so that it can
    be read up to the last frame at any moment, is on the disk after `SYNC_EVERY` seconds, takes no memory for each
    frame, keeps times that are no whole milliseconds, and can be continued.

    With `first`, the first frame of the whole video, what is written is a part of it: it has the same head and clock.

    Raises OutputError where writing fails; the frames before that are finished under the name by `close`.
    """

    ordered: ClassVar[bool] = True
    _pixels: ClassVar[str] = "gray"
    _content: ClassVar[str] = ""

    def __init__(
        self,
        path: Path,
        source: SourceInfo,
        *,
        first: Frame | None = None,
        only: tuple[int, ...] | None = None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        self._path = path
        self._source = source
        self._first = first
        self._only = only
        self._kept = None if only is None else np.where(np.isin(np.arange(256), only), np.arange(256), 0).astype("u1")
        self._warn = warn
        self._warned = False
        self._fingerprint = ""
        self._frames: _Frames | None = None
        self._held: HeldFrames | None = None
        self._failure: Exception | None = None
        self._written: list[Path] = []

    def resume(self, reached: int = 0) -> None:
        super().resume(reached)
        self._held = hold_frames(self._path)

    def identify(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def write(self, result: Segmentation) -> None:
        plane = self._plane(result)
        try:
            if self._frames is None:
                self._frames = _Frames(
                    self._path, result, self._source, self._held, self._first, self._pixels, self._content
                )
            self._frames.write(result.frame, self._fitted(plane, self._frames.head.size, result.frame.name))
        except _FAILURES as error:
            self._failure = error
            raise not_written(self._path, error) from error

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return bytes_of_labels(size)

    def measure(self, result: Segmentation) -> int:
        return measure_map(self._plane(result), self._pixels)

    def close(self) -> None:
        frames, self._frames = self._frames, None
        if frames is None:
            if self._held is not None and self._held.put_back(self._path):
                self._written = [self._path]
            return
        failure = self._failure
        try:
            if frames.count:
                failure = frames.finish(self._fingerprint) or failure
                self._written = [self._path]
        except OSError as error:
            raise not_written(self._path, error) from error
        finally:
            frames.close()
        if failure is not None:
            what = "is cut short" if self._written else "can't be written"
            raise OutputError(f"{self._path} {what}: {cause(failure)}") from failure

    @property
    def planned(self) -> list[Path]:
        return [self._path]

    @property
    def written(self) -> list[Path]:
        return list(self._written)

    def _plane(self, result: Segmentation) -> Plane:
        """What is written of a result, in its own size."""
        class_map = np.ascontiguousarray(result.class_map)
        return class_map if self._kept is None else np.asarray(cv2.LUT(class_map, self._kept), np.uint8)

    def _fitted(self, plane: Plane, size: tuple[int, ...], name: str) -> Plane:
        if plane.shape != size:
            if not self._warned:
                was, first = ("{1}x{0}".format(*each) for each in (plane.shape, size))
                self._warn(f"{name} is {was}, the first frame was {first}: its class map is scaled")
            self._warned = True
            return cv2.resize(plane, size[::-1], interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]
        return plane


def bytes_of_labels(size: tuple[int, int]) -> int:
    """About how much a class map of (height, width) takes."""
    return 200 + size[0] * size[1] // 300


def measure_labels(class_map: npt.NDArray[np.uint8]) -> int:
    """How much this one takes."""
    return measure_map(class_map, "gray")


def measure_map(plane: Plane, pixels: str) -> int:
    """How much a map of FFmpeg's format `pixels` takes."""
    packets = encoder_for(plane.shape, pixels).encode(_grey(plane, pixels))
    return sum(len(ebml.key_cluster(0, bytes(packet))) for packet in packets)


class _Frames:
    """The file itself: a head, a cluster for each frame, and at the end the cues.

    Frames that are `held` already are passed over. Raises OSError, ValueError or av.FFmpegError.
    """

    def __init__(
        self,
        path: Path,
        result: Segmentation,
        source: SourceInfo,
        held: HeldFrames | None,
        first: Frame | None,
        pixels: str,
        content: str,
    ) -> None:
        first = first or result.frame
        self._clock = Clock(first, source)
        self._pixels = pixels
        self._encoder = encoder_for(first.size, pixels)
        classes = None if content else result.classes
        self.head = head_of(first, source, self._encoder, classes=classes, model=result.model, content=content)
        if held is not None and not held.fit(self.head):
            held = None
        self._file = GrowingFile(path, keep=held.size if held is not None else None)
        self.count = held.count if held is not None else 0
        self._cues = held.cues if held is not None else array("Q")  # time and place of each, in turn
        self._end = held.last + self.head.frame_duration if held is not None else 0  # nanoseconds
        self._passed = 0
        self._begun = False

    def write(self, frame: Frame, plane: Plane) -> None:
        if not self._begun:
            self._begun = True
            self._file.cut()
            if self.count:
                self._file.overwrite(0, self.head.as_bytes())
            else:
                self._file.append(self.head.as_bytes())
        ticks = self._clock.place(frame)
        self._passed += 1
        if self._passed >= self.count:
            self._end = round((ticks + self._clock.length(frame)) * self._clock.time_base * ebml.SECOND)
        if self._passed <= self.count:
            return
        begin = round(ticks * self._clock.time_base * ebml.SECOND)
        [packet] = self._encoder.encode(_grey(plane, self._pixels))
        place = self._file.size - self.head.begin
        self._file.append(ebml.key_cluster(begin, bytes(packet)))
        if self.count % CUE_EVERY == 0:
            self._cues.extend((begin, place))
        self.count = self._passed

    def finish(self, fingerprint: str) -> Exception | None:
        """Completes the file under its name. Returns what the cues failed with: the frames can be read without."""
        failure: Exception | None = None
        cues = self._file.size
        try:
            points = [ebml.cue(*self._cues[at : at + 2]) for at in range(0, len(self._cues), 2)]
            self._file.append(ebml.master(ebml.CUES, *points))
        except OSError as error:
            failure, cues = error, 0
        head = self.head.as_bytes(fingerprint=fingerprint, end=self._file.size, cues=cues, duration=self._end)
        self._file.overwrite(0, head)
        self._file.finish()
        return failure

    def close(self) -> None:
        self._file.close()


def head_of(
    first: Frame,
    source: SourceInfo,
    encoder: VideoCodecContext,
    *,
    classes: ClassSet | None,
    model: str,
    content: str = "",
) -> LabelHead:
    """What the label video of a source begins with."""
    clock = Clock(first, source)
    return LabelHead(
        size=first.size,
        private=encoder.extradata or b"",
        frame_duration=round(ebml.SECOND / clock.rate),
        classes=classes,
        content=content,
        model=model,
        time_base=clock.time_base,
        shift=clock.shift,
        sample_aspect_ratio=first.pixel_aspect,
    )


def encoder_for(size: tuple[int, ...], pixels: str = "gray") -> VideoCodecContext:
    """FFV1 for maps of a size, (height, width). Raises OutputError for one that it does not take."""
    keep_quiet()
    height, width = size
    for slices in sorted(_SLICES, key=int) if height * width < _SMALL else _SLICES:
        encoder = av.CodecContext.create("ffv1", "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.height, encoder.width, encoder.pix_fmt = height, width, pixels
        encoder.time_base = Fraction(1)
        encoder.thread_count = 1  # whatever is given comes out at once
        encoder.options = {"level": "3", "g": "1", "slices": slices, "slicecrc": "1"}
        try:
            encoder.open()
        except (NotImplementedError, ValueError, av.FFmpegError):
            continue
        return encoder
    raise OutputError(f"FFV1 takes no frames of {width}x{height}")


def _grey(plane: Plane, pixels: str) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(plane, pixels)


def label_video(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return LabelVideoSink(target.path, target.source, only=outputs.only, warn=target.warn)
