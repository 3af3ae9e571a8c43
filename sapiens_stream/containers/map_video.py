"""A grey video, each level of which is an id, as a sequence of arrays: what label videos and person videos are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar, overload

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from sapiens_stream.containers import ebml
from sapiens_stream.containers.elements import Header
from sapiens_stream.containers.frame_index import OWN_LAYOUT, FrameIndex
from sapiens_stream.containers.limits import limit_decoder, require_max_pixels, too_large
from sapiens_stream.containers.matroska import FrameBlock, MatroskaFile
from sapiens_stream.errors import InputError, UsageError, cause
from sapiens_stream.quiet import keep_quiet
from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.threads import OwnProcess

MODEL, CLASS_SET, CLASSES, COLOURS = "MODEL", "CLASS_SET", "CLASSES", "CLASS_COLOURS"
TIME_BASE, SHIFT, FINGERPRINT = "TIME_BASE", "TIME_SHIFT", "FINGERPRINT"
CONTENT = "CONTENT"
"""The tags of such a video. The last says what it holds; without it, those are classes."""
PEOPLE = "people"
"""What CONTENT says of ids of people."""

_CODEC = "V_FFV1"
_WINDOWS_CODEC, _FOURCC, _WINDOWS_HEADER = "V_MS/VFW/FOURCC", slice(16, 20), 40  # how FFmpeg's own muxer names it

Item = TypeVar("Item")
Id = TypeVar("Id", np.uint8, np.uint16)


class MapVideo(Sequence[npt.NDArray[Id]], Generic[Id]):
    """The maps of a video, one a frame. What they hold, and in what type, a class of its own says.

    It is a sequence: `len(video)`, `video[i]`, `video[-1]`, `video[10:20]`, `for map in video`. A frame is read when it
    is asked for, any in the same time, and none is kept; a slice is a sequence that reads as late. A file that a killed
    run left, or that was cut short, holds the frames that are whole. May be shared between threads and forked
    processes; pickled, it is opened anew where it comes.

    Args:
        path: the file.
        max_pixels: of a frame; a file with more is refused.

    Raises:
        InputError: where it cannot be opened, or is no such video; and, by `[i]`, iteration and `times`, for a frame
            that is damaged.
        IndexError: for a frame that is not there.
        UsageError: for what is no path, or no number of pixels.
    """

    _noun: ClassVar[str]
    _content: ClassVar[str]
    _formats: ClassVar[tuple[str, ...]]
    _dtype: type[Id]

    def __init__(self, path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise UsageError(f"a {self._noun} is the path of a file; got {type(path).__name__}")
        require_max_pixels(max_pixels)
        self.path = Path(path)
        self._max_pixels = max_pixels
        try:
            self._opened = self.path.open("rb", buffering=0)
        except (OSError, ValueError) as error:
            raise self._problem(error) from None
        try:
            self._file = MatroskaFile(self._opened)
            layout = self._file.layout
            self._extradata = self._ffv1_header(layout.codec, layout.private)
            if layout.tags.get(CONTENT, "") != self._content:
                raise InputError(f"it is not a {self._noun}: it holds {layout.tags.get(CONTENT) or 'classes'}")
            self._decoding = _Decoding(self._new_decoder())
            self._index = FrameIndex(self._file)
            self.size = layout.size
            self.model = layout.tags.get(MODEL, "")
            self.fingerprint = layout.tags.get(FINGERPRINT, "")
            self._tags = layout.tags
            self.frame_rate = Fraction(ebml.SECOND, layout.frame_duration) if layout.frame_duration else None
            self._time_base, self._shift = _clock(layout.tags, layout.tick)
        except (InputError, OSError, av.FFmpegError) as error:
            self._opened.close()
            raise self._problem(error) from None

    @property
    def times(self) -> Sequence[Fraction]:
        """The time of each frame, seconds; made anew, since one that is kept would keep the open file in a circle."""
        return _Part(self._times, range(len(self)))

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, index: int) -> npt.NDArray[Id]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[npt.NDArray[Id]]: ...
    def __getitem__(self, index: int | slice) -> npt.NDArray[Id] | Sequence[npt.NDArray[Id]]:
        """The map of a frame, (H, W), an array of its own; of a slice, a sequence of them."""
        return _Part(self._maps, range(len(self)))[index]

    def __iter__(self) -> Iterator[npt.NDArray[Id]]:
        return self._maps(range(len(self)))

    def __reduce__(self) -> tuple[Callable[[Path], Self], tuple[Path]]:
        """Another process, or a copy, opens the file anew."""
        return partial(type(self), max_pixels=self._max_pixels), (self.path,)

    def __repr__(self) -> str:
        height, width = self.size
        return f"<{type(self).__name__} {str(self.path)!r}: {len(self)} frames of {width}x{height}>"

    def close(self) -> None:
        """Closes the file; may be called again."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _maps(self, indexes: range) -> Iterator[npt.NDArray[Id]]:
        for index, cluster, block in self._blocks(indexes):
            with self._reading(index):
                self._require_sound(cluster)
                yield self._decode(block)

    def _times(self, indexes: range) -> Iterator[Fraction]:
        tick = self._file.layout.tick
        for _, _, block in self._blocks(indexes):
            time = block.timestamp * tick
            yield round(time / self._time_base) * self._time_base - self._shift

    def _blocks(self, indexes: range) -> Iterator[tuple[int, Header, FrameBlock]]:
        """One after the other without looking each up, where they are neighbours."""
        blocks: Iterator[tuple[Header, FrameBlock]] = iter(())
        following = -1
        for index in indexes:
            with self._reading(index):
                if index != following:
                    blocks = self._index.blocks(index)
                found: tuple[Header, FrameBlock] | None = next(blocks, None)
                if found is None:
                    raise InputError("the file is cut short")
            following = index + 1
            cluster, block = found
            yield index, cluster, block

    def _require_sound(self, cluster: Header) -> None:
        """FFmpeg's decoder mends a damaged frame as it can, and says nothing."""
        if self._file.layout.muxing_app == OWN_LAYOUT and not self._file.is_sound(cluster):
            raise InputError("it is damaged")

    def _decode(self, block: FrameBlock) -> npt.NDArray[Id]:
        height, width = self.size
        if block.size > 4 * height * width * np.dtype(self._dtype).itemsize + (1 << 16):
            raise InputError(f"its packet takes {block.size} bytes")
        packet = Packet(self._file.read(block.at, block.size))
        decoding = self._decoding
        if decoding.process.left:  # forked, perhaps while a thread was at it, which has not come along
            decoding = self._decoding = _Decoding(self._new_decoder())
        with decoding.lock:
            try:
                frames = decoding.decoder.decode(packet)
            except (av.FFmpegError, ValueError):
                decoding.decoder = self._new_decoder()  # which may be in any state
                raise
        pixels = frames[0].format.name if len(frames) == 1 else ""
        if pixels not in self._formats or (frames[0].height, frames[0].width) != self.size:
            raise InputError(f"its packet is no frame of {width}x{height} in grey")
        if frames[0].is_corrupt:
            raise InputError("its packet is damaged")
        return np.array(frames[0].to_ndarray(), self._dtype)  # a copy, without what pads the lines

    def _new_decoder(self) -> VideoCodecContext:
        height, width = self._file.layout.size
        if not height * width > 0:
            raise InputError(f"it is not a {self._noun}: its frames have no size")
        if height * width > self._max_pixels:
            raise InputError(too_large((height, width), self._max_pixels))
        keep_quiet()
        decoder = av.CodecContext.create("ffv1", "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.height, decoder.width = height, width
        decoder.extradata = self._extradata or None
        decoder.thread_count = 1
        decoder.options = {"err_detect": "crccheck+explode"}
        limit_decoder(decoder, self._max_pixels)
        return decoder

    def _ffv1_header(self, codec: str, private: bytes) -> bytes:
        """What the decoder needs to know beforehand. Raises InputError for another codec."""
        if codec == _CODEC:
            return private
        if codec == _WINDOWS_CODEC and private[_FOURCC] == b"FFV1":
            return private[_WINDOWS_HEADER:]
        raise InputError(f"it is not a {self._noun}: its codec is {codec or 'none'}, not FFV1")

    def _reading(self, index: int) -> _Named:
        return _Named(lambda error: self._problem(error, f"frame {index}: "))

    def _problem(self, error: BaseException, what: str = "") -> InputError:
        return InputError(f"{self.path}: {what}{cause(error)}")


@dataclass
class _Decoding:
    """A decoder, for one thread at a time."""

    decoder: VideoCodecContext
    lock: Lock = field(default_factory=Lock)
    process: OwnProcess = field(default_factory=OwnProcess)


class _Named:
    """Turns failures of its block into one that names the file."""

    def __init__(self, named: Callable[[BaseException], InputError]) -> None:
        self._named = named

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (InputError, OSError, ValueError, av.FFmpegError)):
            raise self._named(error) from None


class _Part(Sequence[Item], Generic[Item]):
    """What `read` yields for the frames of a range, read when it is asked for."""

    def __init__(self, read: Callable[[range], Iterator[Item]], indexes: range) -> None:
        self._read = read
        self._indexes = indexes

    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return _Part(self._read, self._indexes[index])
        try:
            at = self._indexes[index]
        except IndexError:
            raise IndexError(f"frame {index} of {len(self)}") from None
        return next(self._read(range(at, at + 1)))

    def __iter__(self) -> Iterator[Item]:
        return self._read(self._indexes)


def _clock(tags: dict[str, str], tick: Fraction) -> tuple[Fraction, Fraction]:
    """The unit that times are multiples of, and what was added to those of the source."""
    try:
        time_base, shift = Fraction(tags[TIME_BASE]), Fraction(tags.get(SHIFT, "0"))
    except (KeyError, ValueError, ZeroDivisionError):
        return tick, Fraction(0)
    # Whoever wrote the file anew may have used a coarser clock, from which the source's ticks can't be recovered.
    return (time_base, shift) if time_base >= tick else (tick, shift)
