"""The Python API: pictures in, class maps out, nothing about threads or queues to know."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Damaged, Frame, Segmentation, Skipped, UInt8Array
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.worker import BatchSize
from sapiens_stream.models import open_model
from sapiens_stream.models.model import Model
from sapiens_stream.painting import Painter
from sapiens_stream.pipeline import Stream
from sapiens_stream.sinks import JsonSink, MaskSink, PictureSink, Sink
from sapiens_stream.sources import Source, open_source


class Result(Segmentation):
    """A segmentation that can be painted and saved.

    >>> result = Segmenter("builtin")(image)
    >>> result.class_map.shape == image.shape[:2]
    True
    >>> [label.name for label in result.labels]
    ['Face_Neck', 'Hair', 'Upper_Clothing']
    """

    model: str

    @classmethod
    def of(cls, segmentation: Segmentation, model: str) -> Result:
        """The same result, by a model of that name."""
        result = cls(frame=segmentation.frame, class_map=segmentation.class_map, classes=segmentation.classes)
        object.__setattr__(result, "model", model)
        return result

    def mask(self, *classes: str | int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(H, W) bool: the pixels of these classes, by name or id; of the whole person if none is given."""
        if not classes:
            return self.class_map > 0
        return np.isin(self.class_map, self.classes.ids(classes))

    def overlay(
        self, opacity: float = 0.5, *, keep_background: bool = False, classes: Iterable[str | int] | None = None
    ) -> UInt8Array:
        """(H, W, 3) uint8 RGB: the picture with the classes' colours over it."""
        only = None if classes is None else self.classes.ids(classes)
        painter = Painter(self.classes, opacity=opacity, keep_background=keep_background, only=only)
        return painter.paint(self.frame.rgb, self.class_map)

    def save(self, folder: str | Path, name: str | None = None) -> None:
        """Writes NAME.png (overlay), NAME.npy, NAME_seg.npy and NAME.json into `folder`, as `images` does.

        Raises OutputError where a file can not be written.
        """
        root = Path(folder)
        sinks: list[Sink] = [
            PictureSink(root, Painter(self.classes)),
            MaskSink(root, foreground=True, classes=True),
            JsonSink(root, title="result", model=self.model),
        ]
        frame = self.frame
        if name is not None:
            frame = Frame(index=0, name=name, decoded=frame.rgb)
        for sink in sinks:
            sink.write(Segmentation(frame=frame, class_map=self.class_map, classes=self.classes))
            sink.close()


class Segmenter:
    """A model on a device. Call it with a picture; it may be shared between threads.

    `model` is a checkpoint's path, a name, or an open Model. `device` is "auto", "cpu", "cuda", "cuda:N",
    "cuda:all", "mps", or several ("cuda:0,cuda:1"); `precision` "auto", "fp32", "fp16" or "bf16"; `fit` "stretch",
    "letterbox" or "crop". `shape` is the (height, width) that the model gets, the checkpoint's own if None (the
    built-in model's is then in the picture's aspect). `as_is`
    runs the graph in a Sapiens checkpoint's file. `batch_size` matters to `segment` alone; None takes 1 on the CPU, 8
    elsewhere, "auto" tries which is fastest. `compile` has torch compile the network, which can take minutes and is
    kept for later runs. `pull` fetches a model of that name if it is not on disk. `warn` and `note` are told sentences
    for the user.

    Raises ModelError, DeviceError or UsageError.
    """

    def __init__(
        self,
        model: str | Path | Model = "builtin",
        *,
        device: str = "auto",
        precision: str = "auto",
        fit: str = "stretch",
        shape: tuple[int, int] | None = None,
        as_is: bool = False,
        batch_size: BatchSize | None = None,
        compile: bool = False,
        pull: bool = False,
        warn: Callable[[str], None] = warnings.warn,
        note: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.model = model if isinstance(model, Model) else open_model(model, shape=shape, as_is=as_is, pull=pull)
        self.engine = Engine(
            self.model,
            device=device,
            precision=precision,
            batch_size=batch_size,
            fit=fit,
            compile=compile,
            warn=warn,
            note=note,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by id."""
        return self.model.classes.names

    def __call__(self, image: UInt8Array) -> Result:
        """Segments one picture, (H, W, 3) uint8 RGB, upright. Raises UsageError for any other array."""
        if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
            what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise UsageError(f"an image is a (H, W, 3) uint8 RGB array; got {what}")
        [segmentation] = self.engine.submit([Frame(index=0, name="image", decoded=image)]).result()
        return Result.of(segmentation, self.model.name)


def segment(
    source: str | Path | int | Source,
    *,
    model: str | Path | Segmenter = "builtin",
    on_skip: Callable[[Skipped], None] | None = None,
    on_damage: Callable[[Damaged], None] | None = None,
    strict: bool = False,
    **settings: Any,
) -> Iterator[Result]:
    """Segments every frame of a source, streamed: decoding and inference run ahead, memory stays flat.

    `source` is a video's path, a folder of photos, a list of them (.txt), one photo, a glob, a camera's index, a live
    address (a URL, `lavfi:GRAPH`, `screen`), or an open Source.
    `settings` are Segmenter's. What can not be read is passed to `on_skip`, or else a warning names it. A
    picture that is damaged is used as far as it can be decoded, and passed to `on_damage` or warned of in the same way;
    with `strict` it is skipped. Leave the loop whenever you like.

    >>> for result in segment("clip.mp4", model="sapiens-1b"):
    ...     print(result.frame.index, [label.name for label in result.labels])
    """
    segmenter = model if isinstance(model, Segmenter) else Segmenter(model, **settings)
    opened = source if isinstance(source, Source) else open_source(source)
    on_damage = on_damage or _warn_of_damage
    with Stream(opened, segmenter.engine, on_skip=on_skip or _warn_of, on_damage=on_damage, strict=strict) as stream:
        for segmentation in stream:
            yield Result.of(segmentation, segmenter.model.name)


def _warn_of(item: Skipped) -> None:
    warnings.warn(f"skipped {item.name}: {item.reason}", stacklevel=2)


def _warn_of_damage(item: Damaged) -> None:
    warnings.warn(f"damaged {item.name}: {item.reason}", stacklevel=2)
