"""Pictures that a program holds as a source: arrays, PIL images, tensors, decoded frames, paths of photos."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.errors import InputError, UsageError, cause
from sapiens_stream.frame import Damaged, Frame, Skipped, SourceInfo, UInt8Array
from sapiens_stream.redaction import redacted_text
from sapiens_stream.settings import picture_name
from sapiens_stream.sources.display_matrix import DisplayMatrix
from sapiens_stream.sources.kinds import is_photo
from sapiens_stream.sources.listing import is_folder, is_glob, is_list
from sapiens_stream.sources.live.address import is_live
from sapiens_stream.sources.photos import Photos
from sapiens_stream.sources.source import Source
from sapiens_stream.sources.video import Video

if TYPE_CHECKING:
    import PIL.Image
    import torch

    ImageLike: TypeAlias = (
        str | os.PathLike[str] | npt.NDArray[Any] | PIL.Image.Image | torch.Tensor | av.VideoFrame | Frame
    )

_FORMS = (
    "an image is the path of a photo, a PIL image, a frame of PyAV's, or an array or tensor of (H, W, 3) RGB,"
    " (H, W, 4) RGBA or (H, W) grey, a tensor also (3, H, W); uint8, or float from 0 to 1"
)
_HALF_A_LEVEL = 0.5 / 255


class Pictures(Source):
    """Whatever an iterable yields of pictures, in order; see `frame_of`.

    An iterator is read ahead, in the thread that asks for frames. What it yields is copied, since it may fill the same
    array again. A photo that cannot be read is a `Skipped`. `frames` raises UsageError for what is no picture, and
    whatever the iterable itself raises.
    """

    def __init__(self, pictures: Iterable[ImageLike]) -> None:
        count = len(pictures) if isinstance(pictures, Sized) else None
        self.info = SourceInfo(name="pictures", kind="photos", frame_count=count)
        self._closed = False
        self._frames = self._read(pictures)

    def frames(self) -> Iterator[Frame | Skipped]:
        return self._frames

    def close(self) -> None:
        self._closed = True  # the iterator itself belongs to the caller, and may be running in another thread

    def _read(self, pictures: Iterable[ImageLike]) -> Iterator[Frame | Skipped]:
        index = 0
        for place, picture in enumerate(pictures):
            if self._closed:
                return
            name = picture_name(place)
            try:
                frame = _frame_or_skipped(picture, index, name)
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from error
            if isinstance(frame, Frame):
                index += 1
                if not isinstance(pictures, Sequence):
                    frame = _owning(frame, picture)
            yield frame


def frame_of(picture: ImageLike, *, index: int = 0, name: str = "image") -> Frame:
    """A picture as a frame, upright, its alpha dropped.

    A path is that of a photo, whose stem names the frame. An array is (H, W, 3) RGB, (H, W, 4) RGBA, (H, W) or
    (H, W, 1) grey, uint8 or floating point from 0 to 1, and is not copied if it can be used as it is. A tensor is that,
    on any device, or channels first: it is (C, H, W) if its first side is 1, 3 or 4 long, else (H, W, C). A PIL image
    may be of any mode, is turned as its EXIF orientation says, and read in its first 8 bits if it has 16; the modes "I"
    and "F", which have no range of their own, from 0 to 255, or to 65535 if anything is above that, "F" to 1 if nothing
    is above that. A frame of PyAV's is turned as it says, and keeps its depth, its colours and its time; its
    pixels are taken for square. A Frame stays what it is.

    Raises UsageError for anything else, InputError for a photo or PIL image that cannot be read.
    """
    found = _frame_or_skipped(picture, index, name)
    if isinstance(found, Skipped):
        raise InputError(f"{found.name}: {found.reason}")
    return found


def _frame_or_skipped(picture: object, index: int, name: str) -> Frame | Skipped:
    if isinstance(picture, Frame):
        return picture
    if isinstance(picture, (str, os.PathLike)):
        return _photo(os.fspath(picture), index)
    if isinstance(picture, av.VideoFrame):
        return _of_decoder(picture, index, name)
    try:
        return Frame(index=index, name=name, decoded=_rgb(picture))
    except InputError as error:
        return Skipped(name, str(error))


def _of_decoder(decoded: av.VideoFrame, index: int, name: str) -> Frame:
    turns, mirrored = DisplayMatrix().turns(decoded)
    return Frame(
        index=index,
        name=name,
        decoded=decoded,
        quarter_turns=turns,
        mirrored=mirrored,
        pts=decoded.pts,
        time_base=decoded.time_base,
        duration=decoded.duration or None,
        damaged=Damaged(name, "the frame is damaged") if decoded.is_corrupt else None,
    )


def _photo(path: str, index: int) -> Frame | Skipped:
    if not path:
        raise InputError("an empty name is no input")
    what = "live" if is_live(path) else "a folder" if is_folder(Path(path)) else "several photos"
    if what != "several photos" or is_list(Path(path)) or is_glob(path):
        name = redacted_text(path)
        raise UsageError(f"{name} is {what}, not one picture; segment({name!r}) goes through it")
    try:
        with Photos(path, workers=1) as photos:
            [found] = photos.frames()
    except InputError as error:
        return Skipped(path, str(error).removeprefix(f"{path}: "))
    if isinstance(found, Frame):
        return replace(found, index=index)
    if Path(path).is_file() and not is_photo(Path(path)) and _is_video(path):
        raise UsageError(f"{path} is a video, not a picture; segment({path!r}) goes through its frames")
    return found


def _is_video(path: str) -> bool:
    try:
        Video(path).close()
    except InputError:
        return False
    return True


def _owning(frame: Frame, picture: object) -> Frame:
    """The frame with an array of its own, where that is still the caller's."""
    decoded = frame.decoded
    if isinstance(decoded, np.ndarray) and (decoded is picture or not decoded.flags.owndata):
        return replace(frame, decoded=decoded.copy())
    return frame


def _rgb(picture: object) -> UInt8Array:
    """(H, W, 3) uint8."""
    if isinstance(picture, np.ndarray):
        what = f"{picture.dtype} {picture.shape}"
        hint = ""
        if picture.ndim == 3 and picture.shape[0] in (1, 3, 4) and picture.shape[2] > 4:
            hint = "; channels go last in an array: np.moveaxis(image, 0, -1)"
        return _from_array(np.asarray(picture), what, hint)
    if _is_a(picture, "torch", "Tensor"):
        return _from_tensor(picture)  # type: ignore[arg-type]
    if _is_a(picture, "PIL.Image", "Image"):
        return _from_pil(picture)  # type: ignore[arg-type]
    raise UsageError(f"{_FORMS}; got {type(picture).__name__}")


def _is_a(picture: object, module: str, name: str) -> bool:
    """Whether it is of a class of that module, which need not be there: then nothing is."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(picture, getattr(loaded, name))


def _from_tensor(tensor: torch.Tensor) -> UInt8Array:
    import torch

    what = f"{str(tensor.dtype).removeprefix('torch.')} tensor {tuple(tensor.shape)}"
    try:
        host = tensor.detach()
        host = host.to("cpu", torch.float32) if host.is_floating_point() else host.cpu()
        if host.ndim == 3 and host.shape[0] in (1, 3, 4):
            host = host.permute(1, 2, 0)
        array = host.numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, quantised, on "meta", ...
        raise UsageError(f"{_FORMS}; got {what} ({cause(error)})") from error
    return _from_array(array, what, "")


def _from_array(array: npt.NDArray[Any], what: str, hint: str) -> UInt8Array:
    if array.ndim == 4:
        raise UsageError(f"{_FORMS}; got {what}: a batch is a list of images, list(images)")
    if not array.size:
        raise UsageError(f"{_FORMS}; got {what}, which has no pixels")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise UsageError(f"{_FORMS}; got {what}{hint}")
    levels = _levels(array, what)
    if levels.ndim == 2 or levels.shape[2] == 1:
        grey = np.ascontiguousarray(levels.reshape(levels.shape[:2]))
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    return levels[:, :, :3]


def _levels(array: npt.NDArray[Any], what: str) -> UInt8Array:
    """Values as uint8."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= -_HALF_A_LEVEL and high <= 1 + _HALF_A_LEVEL):  # nor where one is not a number
            raise UsageError(f"{_FORMS}; got {what} from {low:g} to {high:g}: divide by 255, or give uint8")
        return np.rint(np.clip(array.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    hint = ": give (image >> 8).astype(np.uint8)" if array.dtype == np.uint16 else ""
    raise UsageError(f"{_FORMS}; got {what}{hint}")


def _from_pil(image: PIL.Image.Image) -> UInt8Array:
    if 0 in image.size:
        raise UsageError(f"{_FORMS}; got a PIL image of {image.width}x{image.height}, which has no pixels")
    try:
        return _from_upright_pil(_turned(image))
    except UsageError:
        raise
    except Exception as error:  # of any kind: it may only now be read from its file
        raise InputError(f"the PIL image (mode {image.mode}) cannot be read: {cause(error)}") from error


def _turned(image: PIL.Image.Image) -> PIL.Image.Image:
    from PIL import ImageOps

    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # of any kind: a damaged EXIF block does not say how the picture lies
        return image


def _from_upright_pil(image: PIL.Image.Image) -> UInt8Array:
    mode = image.mode
    if mode.startswith("I;16"):
        return _from_array((np.asarray(image) >> 8).astype(np.uint8), mode, "")
    if mode in ("I", "F"):
        return _from_array(_without_range(np.asarray(image), mode), mode, "")
    if mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
        assert converted is not None
        image = converted
    if mode in ("P", "PA", "La", "RGBa"):  # which have colours only once their alpha is separated
        image = image.convert("LA" if mode == "La" else "RGBA")
    return np.array(image.convert("RGB"), np.uint8)


def _without_range(values: npt.NDArray[Any], mode: str) -> UInt8Array:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 65535):
        raise UsageError(f"a PIL image of mode {mode} holds values from 0 to 65535; these are from {low:g} to {high:g}")
    if mode == "F" and high <= 1:
        values = values * 255
    elif high > 255:
        values = np.floor(values / 256)
    return np.asarray(np.rint(values), np.uint8)
