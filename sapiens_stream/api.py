"""The Python API: pictures in, class maps out, nothing about threads or queues to know."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, TypeGuard, TypeVar, Unpack, cast, overload

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Damaged, Frame, Skipped
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.forks import require_torch
from sapiens_stream.inference.options import BatchSize, InferenceOptions
from sapiens_stream.models import open_model
from sapiens_stream.models.builtin import unsuited_shape
from sapiens_stream.models.model import Model
from sapiens_stream.models.options import ModelOptions, ModelSettings
from sapiens_stream.people.chain import refiner_for
from sapiens_stream.people.closer import closer_for
from sapiens_stream.people.identity import Identities
from sapiens_stream.pipeline import Stream
from sapiens_stream.result import Result, result_of
from sapiens_stream.settings import MAX_PIXELS, MODEL, RECONNECT, Reconnect, picture_name, unclear_flag
from sapiens_stream.sources import Live, Source, open_source
from sapiens_stream.sources.in_memory import Pictures, frame_of

if TYPE_CHECKING:
    import torch

    from sapiens_stream.sources.in_memory import ImageLike


Picture = TypeVar("Picture", bound="ImageLike")
"""A list of paths alone is no list of whatever an image may be."""


class Settings(ModelSettings, total=False):
    """What a Segmenter is called with besides the model: the fields of InferenceOptions, and whom to warn."""

    device: str | torch.device
    precision: str
    batch_size: BatchSize | None
    fit: str
    compile: bool
    people: str
    boxes: str | os.PathLike[str] | None
    fallback: str
    alpha_of: str | Sequence[str | int] | None
    ranks: int
    warn: Callable[[str], None]
    note: Callable[[str], None]


_SETTINGS = {**ModelSettings.__annotations__, **Settings.__annotations__}


class Segmenter:
    """A model on a device. Call it with a picture; it may be shared between threads, but not between processes.

    Args:
        model: a checkpoint's path, a name ("builtin", "sapiens-1b"), or an open Model.
        options: how it is opened and run, all in one.
        settings: the same one by one, as InferenceOptions describes them; they go before `options`. A device may be a
            `torch.device`. `warn` is called with sentences that the user has to know, by default as Python's warnings;
            `note` with those that may be left out.

    Raises:
        ModelError: for a checkpoint that cannot be opened or run.
        DeviceError: for a device that is not there, or too small.
        UsageError: for settings that cannot be; also for those of opening beside an open Model, which is as it is; and
            in a process that was forked from one with a Segmenter, where torch hangs.

    >>> with Segmenter("builtin", device="cpu") as model:
    ...     result = model("samples/astronaut.jpg")
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Model = MODEL,
        *,
        options: InferenceOptions | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        _require_known(settings)
        require_torch()
        warn, note = settings.pop("warn", warnings.warn), settings.pop("note", _ignore)
        for name, told in (("warn", warn), ("note", note)):
            _require_callable(name, told)
        if not isinstance(options, (InferenceOptions, type(None))):
            raise UsageError(f"options is an InferenceOptions; got {type(options).__name__}")
        options = replace(options or InferenceOptions(), **settings)  # type: ignore[arg-type,misc]
        if isinstance(model, Model):
            _require_as_it_is(model, options)
        elif isinstance(model, (str, os.PathLike)):
            model = open_model(model if isinstance(model, str) else Path(model), options)
        else:
            raise UsageError(
                "a model is a name, a checkpoint's path or an open Model, as help(sapiens_stream.models.model.Model) "
                f"makes one of a torch network; got {type(model).__name__}"
            )
        self.model = model
        for sentence in filter(None, (model.assumed, unsuited_shape(model))):
            warn(sentence)
        self.engine = Engine(model, options, closer=closer_for(model, options, note), warn=warn, note=note)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by id."""
        return self.model.classes.names

    @overload
    def __call__(self, image: list[ImageLike] | tuple[ImageLike, ...]) -> list[Result]: ...
    @overload
    def __call__(self, image: list[Picture] | tuple[Picture, ...]) -> list[Result]: ...
    @overload
    def __call__(self, image: ImageLike) -> Result: ...
    def __call__(self, image: ImageLike | list[Picture] | tuple[Picture, ...]) -> Result | list[Result]:
        """Segments a picture, or a list of them as one batch.

        Args:
            image: a photo's path; an array of (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey, uint8 or floating point
                from 0 to 1; a PIL image of any mode, turned as its EXIF orientation says; a tensor of (C, H, W) if its
                first side is 1, 3 or 4 long, else of (H, W, C), in the values of an array; a frame that PyAV decoded;
                or a list of these, of any sizes. Alpha is dropped.

        Returns:
            A Result, its class map of the picture's own size; for a list, a list of them in its order. The frame of a
            Result shares the memory of an array that could be taken as it is.

        Raises:
            UsageError: for anything else, and after `close`.
            InputError: for a photo that cannot be read.
            ModelError: where the model fails.
            DeviceError: where memory is short, or the device fails.

        Warns of a photo that is damaged, and used as far as it can be decoded.

        >>> first, second = model([image, "samples/astronaut.jpg"])
        """
        if not isinstance(image, (list, tuple)):
            return self._segment([frame_of(image)])[0]
        frames = []
        for index, each in enumerate(image):
            try:
                frames.append(frame_of(each, index=index, name=picture_name(index)))
            except UsageError as error:
                raise UsageError(f"image {index} of the list: {error}") from error
        return self._segment(frames) if frames else []

    def _segment(self, frames: list[Frame]) -> list[Result]:
        for frame in frames:
            if frame.damaged:
                _warn_of_damage(frame.damaged)
        return [result_of(Identities().follow(each)) for each in self.engine.submit(frames).result()]

    def close(self) -> None:
        """Finishes what was asked for and lets go of the device; may be called again. No picture is taken after it."""
        self.engine.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError("a Segmenter cannot be pickled; make one in each process")

    def __repr__(self) -> str:
        return f"<Segmenter {self.model.name!r} on {', '.join(dict.fromkeys(map(str, self.engine.devices)))}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def segment(
    source: ImageLike | int | Source | Iterable[ImageLike],
    *,
    model: str | os.PathLike[str] | Model | Segmenter = MODEL,
    on_skip: Callable[[Skipped], None] | None = None,
    on_damage: Callable[[Damaged], None] | None = None,
    strict: bool = False,
    max_pixels: int | None = None,
    reconnect: Reconnect | None = None,
    timeout: float | None = None,
    steady: int = 0,
    every: int = 1,
    **settings: Unpack[Settings],
) -> Generator[Result, None, None]:
    """Segments every frame of a source, streamed: decoding and inference run ahead, memory stays flat.

    Args:
        source: a video's path, a folder of photos, a list of them (.txt), one photo, a glob, a camera's index, a live
            address (a URL, `lavfi:GRAPH`, `screen`), an open Source, or pictures: what a Segmenter takes, or any
            iterable of that, as a reader with numbered items. An iterator is read ahead, in another thread.
        model: as a Segmenter has it, or a Segmenter.
        on_skip: called with what cannot be read; without it, a warning names it.
        on_damage: called with a damaged picture, used as far as it can be decoded; without it, a warning names it.
        strict: skip what is damaged.
        max_pixels: of a picture; one with more is skipped, a video ends. 200 million unless given.
        reconnect: what is done when a live source breaks that was open: "forever" (the default), "no", or how many
            times in a row it is tried again.
        timeout: the seconds that a live source may be without a picture. Without it, a source that does not open is not
            tried again, and one that was open is waited for as `reconnect` says; with it, both are tried until then.
        steady: how many frames before and after each have a say in its class map, 0 to 2: maps flicker less, and differ
            from what the model says of each frame alone.
        every: of so many frames, up to 30, infer one, and more where the picture changes; the others' class maps are
            carried to them from both sides, and their `carried` is not 0. Frames come later by as many.
        settings: those of a Segmenter.

    Returns:
        A generator of a Result for each frame. Leave the loop whenever you like.

    Raises:
        UsageError: for settings that cannot be, or beside a Segmenter or Source that has them already.
        InputError: where the source cannot be opened, or breaks for good, after the results before that.
        ModelError, DeviceError: as a Segmenter does.

    >>> for result in segment("clip.mp4", model="sapiens-1b"):
    ...     print(result.frame.index, [label.name for label in result.labels])
    """
    _require_known(settings)
    if isinstance(model, Segmenter) and settings:
        raise UsageError(f"{next(iter(settings))} cannot be changed in a Segmenter; pass it when that is made")
    for name, told in (("on_skip", on_skip), ("on_damage", on_damage)):
        if told is not None:
            _require_callable(name, told)
    if unclear := unclear_flag(strict=strict):
        raise UsageError(unclear)
    opened = _opened(source, reconnect, timeout, max_pixels)
    segmenter = model if isinstance(model, Segmenter) else Segmenter(model, **settings)
    stream = Stream(
        opened,
        segmenter.engine,
        on_skip=on_skip or _warn_of_skip,
        on_damage=on_damage or _warn_of_damage,
        strict=strict,
        refiner=refiner_for(segmenter.model, steady=steady, every=every),
    )
    results = _results(stream, segmenter if segmenter is not model else None)
    next(results)
    return results


def _opened(source: object, reconnect: Reconnect | None, timeout: float | None, max_pixels: int | None) -> Source:
    if isinstance(source, Source):
        for name, given in (("reconnect", reconnect), ("timeout", timeout), ("max_pixels", max_pixels)):
            if given is not None:
                raise UsageError(f"{name} cannot be changed in a Source that is open; pass it when that is made")
        return source
    if isinstance(source, (str, os.PathLike, int)) and not isinstance(source, bool):
        how = partial(Live, reconnect=RECONNECT if reconnect is None else reconnect, timeout=timeout)
        most = MAX_PIXELS if max_pixels is None else max_pixels
        live = partial(how, await_first=timeout is not None, max_pixels=most)
        return open_source(Path(source) if isinstance(source, os.PathLike) else source, live=live, max_pixels=most)
    if _is_of_pictures(source):
        return Pictures(source)
    return Pictures([frame_of(source)])  # type: ignore[arg-type]


def _is_of_pictures(source: object) -> TypeGuard[Iterable[ImageLike]]:
    """Whether a `for` loop goes through it, as readers and torch's data sets too, which have only numbered items.

    An array, or a tensor, is one picture; with a single side, as a table's column of paths, it can't be one.
    """
    loops = isinstance(source, Iterable) or hasattr(type(source), "__getitem__")
    return loops and (not hasattr(source, "shape") or getattr(source, "ndim", None) == 1)


def _results(stream: Stream, own: Segmenter | None) -> Generator[Result, None, None]:
    """What comes of the stream; at its end, or when it is closed or forgotten, the source is closed, and a Segmenter of
    our own. First it yields nothing: only a generator that was begun can do so."""
    try:
        with stream:
            yield cast("Result", None)
            for segmentation in stream:
                yield result_of(segmentation)
    finally:
        if own is not None:
            own.close()


def _require_known(settings: Settings) -> None:
    if unknown := sorted(settings.keys() - _SETTINGS.keys()):
        raise UsageError(f"no setting is called {unknown[0]!r}; there are {', '.join(_SETTINGS)}")


def _require_callable(name: str, told: object) -> None:
    if not callable(told):
        raise UsageError(f"{name} is {told!r}; it is a function, which is called with what there is to tell")


def _require_as_it_is(model: Model, options: InferenceOptions) -> None:
    """Raises UsageError where options of opening say other than what the open model is."""
    own = None if model.aspect_step else (model.input.height, model.input.width)
    for each in fields(ModelOptions):
        given = getattr(options, each.name)
        if given != each.default and (each.name != "shape" or given != own):
            raise UsageError(f"{each.name} cannot be changed in a Model that is open; pass it to open_model")


def _ignore(_sentence: str) -> None:
    pass


def _warn_of_skip(item: Skipped) -> None:
    warnings.warn(f"skipped {item.name}: {item.reason}", stacklevel=2)


def _warn_of_damage(item: Damaged) -> None:
    warnings.warn(f"damaged {item.name}: {item.reason}", stacklevel=2)
