"""A video file as a source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.video.stream import VideoStream

from sapiens_stream.containers.length import length_without_jumps
from sapiens_stream.containers.limits import require_max_pixels, too_large
from sapiens_stream.containers.opening import CONNECT_SECONDS, open_address, open_file
from sapiens_stream.cores import usable_cores
from sapiens_stream.errors import AT_A_LIMIT, InputError, UsageError, cause
from sapiens_stream.frame import Damaged, Frame, Skipped, SourceInfo
from sapiens_stream.settings import MAX_PIXELS, frame_name
from sapiens_stream.sources.deinterlace import Deinterlacer
from sapiens_stream.sources.demux import Demuxer, Mark, frame_rate_of, holds_no_times_of_showing
from sapiens_stream.sources.display_matrix import DisplayMatrix
from sapiens_stream.sources.header import why_refused
from sapiens_stream.sources.source import OPEN_IN_EACH, Source, up_to_first_frame, with_first
from sapiens_stream.sources.spool import Spool, spool_address, spool_pipe
from sapiens_stream.sources.time_code import time_code_of
from sapiens_stream.sources.video_input import parse_video
from sapiens_stream.threads import OwnProcess

MAX_DECODER_THREADS = 8
MAX_CONSECUTIVE_FAILURES = 100
"""Damaged packets in a row after which the rest of a file is given up."""


class Video(Source):
    """The frames of a video, of any container and codec that FFmpeg reads; interlaced ones deinterlaced.

    Names are "clip/000000", "clip/000001", ... Times are those of the file; a frame without one follows the frame
    before it. A damaged packet is a `Skipped`, and so is the missing end of a file that is cut short; of a frame
    that decodes with errors, the decoder's best is yielded, with `damaged` set where FFmpeg flags it corrupt.

    Args:
        path: a file, an http(s) address, or a pipe ("-" for standard input), which is first read to its end and kept
            in a temporary file.
        max_pixels: of a frame; a video with more is refused.
        called: what it is named where something is said of it; None: as `path` has it, but for its secrets.
        begin: the frames that are decoded before that packet are left out, and indices count from there.
        alive: called whenever something comes of what is read, though it may be no frame yet.

    Raises:
        InputError: where the file cannot be opened, has no video that can be decoded, or pictures that are too large;
            and from `frames` where `MAX_CONSECUTIVE_FAILURES` packets in a row are damaged.
        UsageError: from `frames`, in a process that was forked after it was opened; and where it is pickled.

    >>> with Video("clip.mp4") as video:
    ...     for frame in video.frames():
    ...         print(frame.name, frame.time)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_pixels: int = MAX_PIXELS,
        called: str | None = None,
        begin: Mark | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        require_max_pixels(max_pixels)
        self._process = OwnProcess()
        self._max_pixels = max_pixels
        self._alive = alive
        self._input = parse_video(path)
        self._name = called if called is not None else self._input.name
        self._lock = threading.Lock()  # held while FFmpeg works, so that nothing is closed under its feet
        self._closed = False
        self._interlaced = False
        self._spool: Spool | None = None
        try:
            self._demuxer = Demuxer(self._opened(), max_pixels, begin, alive)
        except InputError as error:
            self._forget()
            raise InputError(f"{self._name}: {error}") from None
        try:
            decoder = self._demuxer.stream.codec_context
            decoder.flags |= Flags.unaligned  # what is cut off on the left is cut to the pixel
            decoder.thread_type = "AUTO"
            decoder.thread_count = min(MAX_DECODER_THREADS, usable_cores())
            rest = self._read()
            head = self._head(rest)
            self.info = self._describe(head[-1])
        except BaseException:
            self.close()
            raise
        self._frames: Iterator[Frame | Skipped] = self._until_closed(with_first(head, rest))

    def frames(self) -> Iterator[Frame | Skipped]:
        return self._frames

    @property
    def first_name(self) -> str | None:
        return f"{self._input.stem}/000000"

    def close(self) -> None:
        self._end()
        self._forget()

    def __reduce__(self) -> NoReturn:
        raise UsageError(f"{self._name}: an open video cannot be pickled; {OPEN_IN_EACH}")

    def _end(self) -> None:
        if self._process.left:  # FFmpeg would wait for its threads, which are in the other
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                self._demuxer.close()
                # Whoever keeps this source, or a generator of it, would keep its decoder's threads and frames.
                del self._demuxer
        self._frames = iter(())

    def _forget(self) -> None:
        """Not before the source is closed: whoever writes the sound reads the same input once more."""
        if self._spool is not None:
            self._spool.close()

    def _opened(self) -> InputContainer:
        """Raises InputError, nameless."""
        if self._input.url is not None:
            return self._opened_address(self._input.url)
        self._spool = spool_pipe(self._input.path, self._alive)
        path = self._spool.path if self._spool is not None else self._input.path
        assert path is not None
        return open_file(path, self._max_pixels)

    def _opened_address(self, url: str) -> InputContainer:
        self._spool = spool_address(url, self._alive)
        if self._spool is not None:
            return open_file(self._spool.path, self._max_pixels)
        try:
            return open_address(url, max_pixels=self._max_pixels)
        except (ValueError, OSError, av.FFmpegError) as error:  # whose own messages repeat the URL
            late = isinstance(error, av.ExitError)
            raise InputError(f"no answer within {CONNECT_SECONDS:g} s" if late else cause(error)) from None

    def _head(self, frames: Iterator[Frame | Skipped]) -> list[Frame | Skipped]:
        """Up to the first frame, which alone tells how the video has to be turned, and that it can be decoded."""
        head = up_to_first_frame(frames)
        if head and isinstance(head[-1], Frame):
            return head
        if self._demuxer.container.format.name == "webp_pipe":
            raise InputError(
                f"{self._name}: an animated WebP, which FFmpeg does not decode; convert it to GIF or MP4 first, or take"
                " it for a photo, which is its first picture"
            )
        why = f"; {self._demuxer.missing}" if self._demuxer.missing is not None else ""
        raise InputError(f"{self._name}: no frame of it can be decoded{why}")

    def _describe(self, first: Frame | Skipped) -> SourceInfo:
        assert isinstance(first, Frame)
        stream = self._demuxer.stream
        rate = frame_rate_of(stream)
        duration = self._demuxer.duration
        if stream.duration and stream.time_base:
            duration = stream.duration * stream.time_base
        path = self._spool.path if self._spool is not None else self._input.path
        if path is not None:
            duration = length_without_jumps(path) or duration
        return SourceInfo(
            name=self._name,
            kind="video",
            frame_count=self._possible(stream.frames or (round(duration * rate) if duration and rate else 0)),
            size=first.size,
            frame_rate=rate,
            duration=duration,
            path=path,
            url=self._input.url if self._spool is None else None,
            time_base=stream.time_base,
            sample_aspect_ratio=stream.sample_aspect_ratio,
            interlaced=self._interlaced,
            time_code=time_code_of(self._demuxer.container),
        )

    def _possible(self, count: int) -> int | None:
        """A number of frames, if the file can hold so many; a header may say anything."""
        path = self._spool.path if self._spool is not None else self._input.path
        return count if count > 0 and (path is None or count <= path.stat().st_size) else None

    def _until_closed(self, frames: Iterable[Frame | Skipped]) -> Iterator[Frame | Skipped]:
        try:
            for each in frames:
                if self._closed:
                    return
                yield each
        finally:
            self._end()

    def _read(self) -> Iterator[Frame | Skipped]:
        index = 0
        matrix = DisplayMatrix()
        container, stream = self._demuxer.container, self._demuxer.stream
        decoded = self._decoded()
        if holds_no_times_of_showing(container):
            decoded = _as_decoded(decoded)
        for each in self._progressive(_timed(decoded, stream)):
            if isinstance(each, Skipped):
                yield each
                continue
            turns, mirrored = matrix.turns(each)
            yield Frame(
                index=index,
                name=frame_name(self._input.stem, index),
                decoded=each,
                quarter_turns=turns,
                mirrored=mirrored,
                pts=each.pts,
                time_base=each.time_base,
                duration=each.duration or None,
                sample_aspect_ratio=stream.sample_aspect_ratio,
                damaged=Damaged(self._name, f"frame {index} is damaged") if each.is_corrupt else None,
            )
            index += 1

    def _decoded(self) -> Iterator[av.VideoFrame | Skipped]:
        demuxer = self._demuxer
        packets = demuxer.packets()
        failures = count = 0
        while True:
            self._process.require(f"{self._name}: it was opened", OPEN_IN_EACH)
            try:
                with self._lock:
                    if self._closed:
                        return
                    packet = next(packets)
                    frames = packet.decode()
            except av.EOFError:  # all was given, after a failure on the way
                break
            except (av.error.MemoryError, MemoryError):
                raise InputError(f"{self._name}: out of memory after {count} frames") from None
            except av.error.BlockingIOError:  # EAGAIN of the decoder, which is opened with its first packet
                raise InputError(f"{self._name}: no thread can be started: {AT_A_LIMIT}") from None
            except av.FFmpegError:
                if why := why_refused(bytes(packet), self._max_pixels):
                    raise InputError(f"{self._name}: {why}, after {count} frames") from None
                failures += 1
                if failures == MAX_CONSECUTIVE_FAILURES:
                    raise InputError(f"{self._name}: given up after {failures} damaged packets in a row") from None
                yield Skipped(self._name, f"a packet is damaged, after {count} frames; left out")
                continue
            for frame in frames:
                if frame.width * frame.height > self._max_pixels:
                    why = too_large((frame.height, frame.width), self._max_pixels)
                    raise InputError(f"{self._name}: {why}, after {count} frames")
            failures = 0
            count += len(frames)
            yield from frames
            if not packet.size:
                break
        if demuxer.missing:
            yield Skipped(self._name, f"{demuxer.missing}, after {count} frames")

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


def _as_decoded(frames: Iterable[av.VideoFrame | Skipped]) -> Iterator[av.VideoFrame | Skipped]:
    """Gives frames, which leave the decoder in the order in which they are shown, the times of decoding."""
    for each in frames:
        if not isinstance(each, Skipped):
            each.pts = each.dts
        yield each


def _timed(frames: Iterable[av.VideoFrame | Skipped], stream: VideoStream) -> Iterator[av.VideoFrame | Skipped]:
    """Gives a frame without a time the one at which the frame before it ends."""
    time_base = stream.time_base or Fraction(1, 1000)
    step = round(1 / ((frame_rate_of(stream) or Fraction(25)) * time_base))
    following = stream.start_time or 0
    for each in frames:
        if not isinstance(each, Skipped):
            if each.time_base is None:
                each.time_base = time_base
            if each.pts is None:
                each.pts = following
            following = each.pts + (each.duration or step)
        yield each
