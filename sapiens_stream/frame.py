"""Frame, what a source yields, SourceInfo, what is known of all of them, and Segmentation, what the model adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import ClassSet
from sapiens_stream.colour.conversion import array_of
from sapiens_stream.colour.meaning import Colour
from sapiens_stream.colour.original import Original
from sapiens_stream.colour.planes import Plane
from sapiens_stream.colour.sdr import sdr_frame
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.errors import UsageError
from sapiens_stream.labels import Extents, Label
from sapiens_stream.soft import AlphaPlane, RankedPlanes

UInt8Array = npt.NDArray[np.uint8]
IdArray = npt.NDArray[np.uint16]
Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What is known of a source before its first frame; None where it is not known.

    Args:
        name: of the source, safe to print (no credentials).
        kind: "photos", "video" or "live".
        frame_count: from the header of a video (an estimate), or the exact number of photos.
        size: (height, width) upright, pixels.
        frame_rate: frames a second on average; the times of frames need not follow it.
        duration: seconds.
        path: the file that a video is read from.
        url: the address, if it is read from there; it may hold credentials.
        time_base: the unit of the frames' `pts`, seconds.
        sample_aspect_ratio: the width of a stored pixel over its height.
        interlaced: the file is; its frames are yielded deinterlaced.
        pictures: the files of numbered pictures that are one clip; `path` is None then.
        numbers: the first and the last of these.
        time_code: of the first frame, as SMPTE has it, "hh:mm:ss:ff".

    >>> Video("clip.mp4").info.size
    (1080, 1920)
    """

    name: str
    kind: Literal["photos", "video", "live"]
    frame_count: int | None = None
    size: tuple[int, int] | None = None
    frame_rate: Fraction | None = None
    duration: Fraction | None = None
    path: Path | None = None
    url: str | None = field(default=None, repr=False)
    time_base: Fraction | None = None
    sample_aspect_ratio: Fraction | None = None
    interlaced: bool = False
    pictures: Sequence[Path] = field(default=(), repr=False)
    numbers: tuple[int, int] | None = None
    time_code: str | None = None


@dataclass(frozen=True)
class Damaged:
    """What is wrong with a frame that a source yields all the same: the decoder's best.

    Args:
        name: of its file.
        reason: in a line.

    >>> frames = [item for item in Photos("holiday").frames() if isinstance(item, Frame)]
    >>> [frame.damaged.reason for frame in frames if frame.damaged]
    ['the JPEG file is cut short']
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture of a source, as it was decoded, and its place in time.

    Args:
        index: from 0.
        name: the stem of the results, "/" between folders: "sub/photo", "clip/000012".
        decoded: the decoder's own frame, or an (H, W, 3) uint8 RGB array, as it lies in the file: turn it by
            `quarter_turns` and then, if `mirrored`, swap left and right, to have it upright. `rgb` and `upright` do
            that. Its numbers mean what `colour` says, HDR too; `sdr` and `rgb` are for any screen.
        quarter_turns: counter-clockwise, as `np.rot90` counts.
        mirrored: left and right are swapped, after the turns.
        pts: when a video's frame begins, in units of `time_base`; None for a photo.
        time_base: that unit, seconds.
        duration: how long it lasts in the same unit, where the file tells.
        arrived: when a live frame's last packet had come, by `time.monotonic()`.
        damaged: what is wrong with a picture that could be decoded in part only; None for a whole one.
        number: of a clip of numbered pictures, that in the name of its file.
        sample_aspect_ratio: the width of a stored pixel over its height; None where it is not told, and 1.
        original: of a photo that may have more than 8 bits, though `decoded` has 8: reads it again in its own depth, as
            it lies in the file; None where there are no more. Raises InputError.

    Raises:
        UsageError: for a `decoded` that is neither, or has no pixels, for a `name` that is no text, and for a
            `time_base` that is no Fraction.

    >>> frame = Frame(index=0, name="mine", decoded=np.zeros((480, 640, 3), np.uint8))
    >>> frame.size, frame.rgb.shape
    ((480, 640), (480, 640, 3))
    """

    index: int
    name: str
    decoded: av.VideoFrame | UInt8Array = field(repr=False)
    quarter_turns: int = 0
    mirrored: bool = False
    pts: int | None = None
    time_base: Fraction | None = None
    duration: int | None = None
    arrived: float | None = None
    damaged: Damaged | None = None
    number: int | None = None
    sample_aspect_ratio: Fraction | None = None
    original: Callable[[], Original | None] | None = None

    def __post_init__(self) -> None:
        decoded = self.decoded
        if not isinstance(self.name, str):
            raise UsageError(f"a frame's name is a text, such as 'photo'; got {self.name!r}")
        if self.time_base is not None and not isinstance(self.time_base, Fraction):
            raise UsageError(f"a frame's time_base is a Fraction of a second; got {self.time_base!r}")
        if isinstance(decoded, av.VideoFrame):
            return
        pictured = isinstance(decoded, np.ndarray) and decoded.dtype == np.uint8 and decoded.shape[2:] == (3,)
        if not pictured or not decoded.size:
            got = f"{decoded.dtype} {decoded.shape}" if isinstance(decoded, np.ndarray) else type(decoded).__name__
            raise UsageError(f"a frame's `decoded` is (H, W, 3) uint8 RGB, or a decoder's frame; got {got}")

    def __getstate__(self) -> dict[str, Any]:
        """For pickling and copying, which a decoder's frame cannot: `rgb` takes its place."""
        plain = self.with_picture(self.rgb) if isinstance(self.decoded, av.VideoFrame) else self
        return {each.name: getattr(plain, each.name) for each in fields(plain)}

    @property
    def pixel_aspect(self) -> Fraction | None:
        """The width of a pixel over its height in the upright picture; None where it is not told."""
        ratio = self.sample_aspect_ratio
        return 1 / ratio if ratio and self.quarter_turns % 2 else ratio

    @property
    def widening(self) -> float:
        """How many times as wide as in `rgb` the picture is meant to be seen; what is not within 1/4 to 4 is a mistake,
        and brought there."""
        return min(4.0, max(0.25, float(self.pixel_aspect or 1)))

    @property
    def seen_size(self) -> tuple[int, int]:
        """(height, width) in which it is meant to be seen, in square pixels: no more of them than `rgb` has."""
        height, width = self.size
        return max(1, round(height / max(1.0, self.widening))), max(1, round(width * min(1.0, self.widening)))

    @property
    def time(self) -> Fraction | None:
        """Seconds from the source's own zero; None for a photo."""
        if self.pts is None or self.time_base is None:
            return None
        return self.pts * self.time_base

    @property
    def is_photo(self) -> bool:
        """Whether it stands alone, and has no place in time."""
        return self.pts is None and self.arrived is None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) upright, pixels."""
        if isinstance(self.decoded, av.VideoFrame):
            height, width = self.decoded.height, self.decoded.width
        else:
            height, width = self.decoded.shape[:2]
        return (width, height) if self.quarter_turns % 2 else (height, width)

    @cached_property
    def colour(self) -> Colour:
        """What the numbers of `decoded` mean."""
        return colour_of(self.decoded) if isinstance(self.decoded, av.VideoFrame) else Colour()

    @cached_property
    def sdr(self) -> av.VideoFrame | UInt8Array:
        """`decoded` as an SDR screen shows it; made of what is HDR or of a wide gamut at the first use, and kept."""
        if isinstance(self.decoded, av.VideoFrame) and self.colour.beyond_sdr:
            return sdr_frame(self.decoded)
        return self.decoded

    @cached_property
    def rgb(self) -> UInt8Array:
        """(H, W, 3) uint8 RGB, SDR, upright; converted at the first use and kept."""
        if isinstance(self.sdr, av.VideoFrame):
            return self.upright(array_of(self.sdr, "rgb24"))
        return self.upright(self.sdr)

    def draw(self, seen: tuple[slice, slice], canvas: UInt8Array) -> None:
        """Resizes a part of the upright picture into a canvas.

        It is `cv2.resize` of `rgb`, but that an HDR picture is resized first: in a model's size it is converted many
        times faster.

        Args:
            seen: the part, its rows and its columns.
            canvas: (h, w, 3) uint8 RGB, SDR, all of which is written.
        """
        height, width = canvas.shape[:2]
        if not (isinstance(self.decoded, av.VideoFrame) and self.colour.beyond_sdr):
            cv2.resize(self.rgb[seen], (width, height), dst=canvas, interpolation=cv2.INTER_LINEAR)
            return

        def fit(plane: Plane) -> Plane:
            plane = self.upright(plane)
            down, across = (1 if own == whole else 2 for own, whole in zip(plane.shape, self.size, strict=True))
            part = plane[_fewer(seen[0], down), _fewer(seen[1], across)]
            return np.asarray(cv2.resize(part, (-(-width // across), -(-height // down))))

        small = sdr_frame(self.decoded, fit)
        canvas[:] = array_of(small, "rgb24")

    def with_picture(self, rgb: UInt8Array) -> Frame:
        """The same frame with another picture in place of its own, whose `original` is not that picture's.

        Args:
            rgb: (H, W, 3) uint8 RGB, upright, of its `size`.

        Returns:
            A new frame, which nothing has to be turned of.
        """
        aspect = self.pixel_aspect
        return replace(self, decoded=rgb, quarter_turns=0, mirrored=False, sample_aspect_ratio=aspect, original=None)

    def upright(self, array: npt.NDArray[Pixel]) -> npt.NDArray[Pixel]:
        """Turns an array that lies as `decoded` does upright.

        Args:
            array: (h, w, ...) of any numbers.

        Returns:
            The array turned, contiguous; a copy only where it has to be.
        """
        turns = self.quarter_turns % 4
        if not turns and not self.mirrored:
            return np.ascontiguousarray(array)
        array = np.rot90(array, turns)
        return np.ascontiguousarray(array[:, ::-1] if self.mirrored else array)


def _fewer(part: slice, times: int) -> slice:
    """The samples, each of which stands for several of the pixels in `part`."""
    return slice(part.start // times, -(-part.stop // times))


@dataclass(frozen=True)
class Skipped:
    """What a source yields in place of a frame that it could not read.

    Args:
        name: the path of the file.
        reason: in a line.

    >>> [item.name for item in Photos("holiday").frames() if isinstance(item, Skipped)]
    ['holiday/notes.jpg']
    """

    name: str
    reason: str


@dataclass(frozen=True)
class PersonBox:
    """Where in the upright picture a person is taken to be, pixels; it may reach beyond the picture."""

    left: float
    top: float
    width: float
    height: float
    score: float = 1.0
    """How sure that is, 0 to 1."""

    @property
    def area(self) -> float:
        return self.width * self.height


@dataclass(frozen=True)
class Person:
    """Somebody in a picture."""

    id: int
    """From 1; the same all along a clip, up to its next cut."""
    bbox: tuple[int, int, int, int]
    """x, y, width, height of the box around what is seen of the person, pixels."""
    score: float | None
    """How sure it is that this is a person, 0 to 1; None where only a map of the people is left."""
    labels: tuple[Label, ...]
    """The classes that the person has; `fraction` is that of the whole picture."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Segmentation:
    """A frame and the class of each of its pixels.

    Args:
        frame: the picture, and its place in time.
        class_map: (H, W) uint8 ids of `classes`, upright.
        classes: what the model tells apart, with names and colours.
        model: the name of the model that found them.
        carried: 0 where the class map was inferred from this very frame; otherwise it was carried along from that many
            frames before (with `every` from a later one too), or is empty where there was none yet.
        boxes: where people were looked for, one by one; None where they were not.
        people: those who were found there, by id.
        person_map: (H, W) uint16, whose each pixel is, 0 being nobody's.
        alpha: what the model gave of the summed probability of some classes, where it was asked for.
        ranked: what it gave of the likeliest classes of each place, where they were asked for.

    >>> found = Segmentation(frame=frame, class_map=np.zeros(frame.size, np.uint8), classes=SAPIENS)
    >>> found.labels
    ()
    """

    frame: Frame
    class_map: UInt8Array
    classes: ClassSet
    model: str = ""
    carried: int = 0
    boxes: tuple[PersonBox, ...] | None = None
    people: tuple[Person, ...] | None = None
    person_map: IdArray | None = None
    alpha: AlphaPlane | None = None
    ranked: RankedPlanes | None = None

    def __repr__(self) -> str:
        height, width = self.frame.size
        found = ", ".join(label.name for label in self.labels) or "nobody"
        return f"<{type(self).__name__} {self.frame.name!r} {width}x{height}: {found}>"

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The classes that were found, by id, background left out; looked for at the first use and kept."""
        return self.extents.labels(self.classes)

    @cached_property
    def extents(self) -> Extents:
        """Where each class is; looked for at the first use and kept."""
        return Extents(self.class_map)
