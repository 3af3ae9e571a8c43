"""A video that a sink writes: its file from the first frame to its end, whatever the frames are made of."""

from __future__ import annotations

import errno
import os
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from typing import ClassVar

import av

from sapiens_stream.errors import OutputError, cause
from sapiens_stream.frame import Frame, Segmentation, SourceInfo
from sapiens_stream.sinks.files import aside, discard, not_written, take_over
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sinks.video.mp4 import cut_to_whole, finish
from sapiens_stream.sinks.video.muxed_file import MuxedFile
from sapiens_stream.sinks.video.painted_frames import PlanarFrames
from sapiens_stream.sinks.video.writer import EncoderSettings, VideoWriter

FAILURES = (OSError, ValueError, av.FFmpegError)


class EncodedVideo(Sink):
    """Writes frames, made of results, to `path` as one video, with what the source has beside its pictures.

    Each frame keeps its time, to the tick in mp4 and mov, to the millisecond in mkv and webm, whose clock that is;
    `writer.Clock` tells of the few that can't be kept.

    While it grows the file lies beside `path` (".NAME.part.EXT") and is playable even if the process is killed;
    `close` finishes it, after a failure too. Without a single frame there is no file.
    """

    ordered: ClassVar[bool] = True

    def __init__(self, path: Path, source: SourceInfo, warn: Callable[[str], None]) -> None:
        self._path = path
        self._growing = aside(path)
        self._file: MuxedFile | None = None
        self._source = source
        self._warn = warn
        self._frames: PlanarFrames | None = None
        self._writer: VideoWriter | None = None
        self._count = 0
        self._written: list[Path] = []

    @abstractmethod
    def frames_like(self, first: Frame) -> PlanarFrames:
        """What makes the video's frames, of which `first` is the first."""

    @abstractmethod
    def settings_for(self, first: Frame) -> EncoderSettings:
        """How they are encoded, `first` being the first."""

    def check(self, size: tuple[int, int]) -> None:
        """Raises OutputError for a `size`, (height, width), that cannot be encoded."""

    def resume(self, reached: int = 0) -> None:
        super().resume(reached)
        try:
            left = cut_to_whole(self._growing)
        except OSError as error:
            raise not_written(self._path, error) from error
        if left:
            take_over(self._path)

    def prepare(self, result: Segmentation) -> Callable[[], av.VideoFrame]:
        if self._frames is None:
            self._frames = self.frames_like(result.frame)
        return partial(self._frames.paint, result)

    def write(self, result: Segmentation) -> None:
        self.write_prepared(result, self.prepare(result)())

    def write_prepared(self, result: Segmentation, prepared: av.VideoFrame) -> None:
        try:
            if self._writer is None:
                self._writer = self._begin(result)
            self._writer.write(result.frame, prepared)
            self._count += 1
        except FAILURES as error:
            raise not_written(self._path, error) from error

    def close(self) -> None:
        recording, self._writer = self._writer, None
        if recording is None:
            if self._file is not None:  # the encoder did not open
                with suppress(OSError):
                    self._file.close()
                discard(self._growing)
            return
        failure: BaseException | None = None
        try:
            recording.close()
        except FAILURES as error:
            failure = error
        try:
            if self._file is None or not self._file.in_place:
                raise OutputError(f"{self._path} can't be written: {self._growing.name} is gone, or another file")
            if self._stays(self._path, self._count):
                self._written = [self._path]
                discard(self._growing)
            elif cut_to_whole(self._growing):
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

    def _begin(self, result: Segmentation) -> VideoWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # `is_dir` hides from Python 3.14 on that a name is too long
            if S_ISDIR(self._path.stat().st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        self.check(result.frame.size)
        self._file = MuxedFile(self._growing)
        assert self._frames is not None
        settings = self.settings_for(result.frame)
        return VideoWriter(self._file, result.frame, self._source, self._frames, settings, self._warn)
