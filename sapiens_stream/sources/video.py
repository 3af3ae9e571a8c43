"""A video file as a source."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.video.stream import VideoStream

from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.sources.deinterlace import Deinterlacer
from sapiens_stream.sources.demux import Demuxer
from sapiens_stream.sources.display_matrix import DisplayMatrix
from sapiens_stream.sources.source import Source, SourceInfo

MAX_DECODER_THREADS = 8
MAX_CONSECUTIVE_FAILURES = 100
"""Damaged packets in a row after which the rest of a file is given up."""


class Video(Source):
    """The frames of a video file, of any container and codec that FFmpeg reads; interlaced ones deinterlaced.

    >>> with Video("clip.mp4") as video:
    ...     for frame in video.frames():
    ...         print(frame.name, frame.time)

    Names are "clip/000000", "clip/000001", ... Times are those of the file; a frame without one follows the frame
    before it. A damaged packet is a `Skipped`, and so is the missing end of a file that is cut short; of a frame
    that decodes with errors, the decoder's best is yielded.

    Raises InputError where the file can not be opened or has no video that can be decoded, and from `frames` where
    `MAX_CONSECUTIVE_FAILURES` packets in a row are damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()  # held while FFmpeg works, so that nothing is closed under its feet
        self._closed = False
        self._interlaced = False
        self._demuxer = Demuxer(self._path)
        try:
            decoder = self._demuxer.stream.codec_context
            decoder.thread_type = "AUTO"
            decoder.thread_count = min(MAX_DECODER_THREADS, os.cpu_count() or 1)
            rest = self._read()
            head = self._head(rest)
            self.info = self._describe(head[-1])
        except BaseException:
            self.close()
            raise
        self._frames: Iterator[Frame | Skipped] = self._until_closed(chain(head, rest))

    def frames(self) -> Iterator[Frame | Skipped]:
        return self._frames

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._demuxer.close()
        self._frames = iter(())  # a generator that is kept would keep its decoder's threads and frames

    def _head(self, frames: Iterator[Frame | Skipped]) -> list[Frame | Skipped]:
        """Up to the first frame, which alone tells how the video has to be turned, and that it can be decoded."""
        head = []
        for each in frames:
            head.append(each)
            if isinstance(each, Frame):
                return head
        raise InputError(f"{self._path}: no frame of it can be decoded")

    def _describe(self, first: Frame | Skipped) -> SourceInfo:
        assert isinstance(first, Frame)
        stream = self._demuxer.stream
        rate = stream.average_rate or stream.guessed_rate
        duration = self._demuxer.duration
        if stream.duration and stream.time_base:
            duration = stream.duration * stream.time_base
        return SourceInfo(
            name=str(self._path),
            kind="video",
            frame_count=stream.frames or (round(duration * rate) if duration and rate else None),
            size=first.size,
            frame_rate=rate,
            duration=duration,
            path=self._path,
            time_base=stream.time_base,
            sample_aspect_ratio=stream.sample_aspect_ratio,
            interlaced=self._interlaced,
        )

    def _until_closed(self, frames: Iterable[Frame | Skipped]) -> Iterator[Frame | Skipped]:
        try:
            for each in frames:
                if self._closed:
                    return
                yield each
        finally:
            self.close()

    def _read(self) -> Iterator[Frame | Skipped]:
        index = 0
        matrix = DisplayMatrix()
        for each in self._progressive(_timed(self._decoded(), self._demuxer.stream)):
            if isinstance(each, Skipped):
                yield each
                continue
            turns, mirrored = matrix.turns(each)
            yield Frame(
                index=index,
                name=f"{self._path.stem}/{index:06d}",
                decoded=each,
                quarter_turns=turns,
                mirrored=mirrored,
                pts=each.pts,
                time_base=each.time_base,
                duration=each.duration or None,
            )
            index += 1

    def _decoded(self) -> Iterator[av.VideoFrame | Skipped]:
        packets = self._demuxer.packets()
        failures = count = 0
        while True:
            try:
                with self._lock:
                    if self._closed:
                        return
                    packet = next(packets)
                    frames = packet.decode()
            except av.EOFError:  # all was given, after a failure on the way
                break
            except av.FFmpegError:
                failures += 1
                if failures == MAX_CONSECUTIVE_FAILURES:
                    raise InputError(f"{self._path}: given up after {failures} damaged packets in a row") from None
                yield Skipped(str(self._path), f"a packet is damaged, after {count} frames; left out")
                continue
            failures = 0
            count += len(frames)
            yield from frames
            if not packet.size:
                break
        if self._demuxer.missing:
            yield Skipped(str(self._path), f"{self._demuxer.missing}, after {count} frames")

    def _progressive(self, frames: Iterable[av.VideoFrame | Skipped]) -> Iterator[av.VideoFrame | Skipped]:
        deinterlacer = Deinterlacer()
        for each in frames:
            if isinstance(each, Skipped):
                yield each
                continue
            self._interlaced = self._interlaced or each.interlaced_frame
            if self._interlaced:
                yield from deinterlacer.push(each)
            else:
                yield each
        yield from deinterlacer.flush()


def _timed(frames: Iterable[av.VideoFrame | Skipped], stream: VideoStream) -> Iterator[av.VideoFrame | Skipped]:
    """Gives a frame without a time the one at which the frame before it ends."""
    time_base = stream.time_base or Fraction(1, 1000)
    step = round(1 / ((stream.average_rate or stream.guessed_rate or Fraction(25)) * time_base))
    following = stream.start_time or 0
    for each in frames:
        if not isinstance(each, Skipped):
            if each.time_base is None:
                each.time_base = time_base
            if each.pts is None:
                each.pts = following
            following = each.pts + (each.duration or step)
        yield each
