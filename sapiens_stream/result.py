"""A picture and the class of each of its pixels, as the Python API hands it out."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.colouring import write_on
from sapiens_stream.errors import OutputError, UsageError
from sapiens_stream.frame import Segmentation, SourceInfo, UInt8Array
from sapiens_stream.install_line import pip_install
from sapiens_stream.settings import (
    COLOUR_BY,
    EDGE,
    OPACITY,
    PICTURE_FORMAT,
    REGIONS,
    SAVE_OF_PHOTOS,
    TITLE,
    ColourBy,
    Edge,
    PictureFormat,
    Regions,
)
from sapiens_stream.sinks import Outputs, parse_save
from sapiens_stream.sinks.instances import find_instances
from sapiens_stream.sinks.json_file import as_json
from sapiens_stream.sinks.mattes.edges import MatteMaker
from sapiens_stream.sinks.png import encode_png
from sapiens_stream.sinks.regions import Rle, polygons, rle
from sapiens_stream.sinks.registry import PEOPLE, require_known
from sapiens_stream.sinks.rings import Ring

if TYPE_CHECKING:
    import supervision

_NOTEBOOK_PIXELS = 1280
"""The longer side of the picture that a notebook shows."""


class Result(Segmentation):
    """A picture and the class of each of its pixels, to be asked, painted and saved.

    `frame` is the picture and its place in time, `class_map` (H, W) uint8 class ids, `classes` their names and colours,
    `labels` the classes that were found, with their areas and boxes; `model` is the model's name. Wherever classes are
    asked for, they are names ("hair"; any case, "-" or " " for "_") or ids; an unknown one raises UsageError.

    >>> result = Segmenter("builtin")(image)
    >>> result.class_map.shape == image.shape[:2]
    True
    >>> [label.name for label in result.labels]
    ['Face_Neck', 'Hair', 'Upper_Clothing']
    """

    def mask(self, *classes: str | int | Iterable[str | int]) -> npt.NDArray[np.bool_]:
        """Where any of these classes is, or where anybody is if none is given.

        Args:
            classes: names or ids, one by one or in lists.

        Returns:
            (H, W) bool.

        >>> np.array_equal(result.mask("hair", "face_neck"), result.mask(["hair", "face_neck"]))
        True
        """
        if not classes:
            return self.class_map > 0
        return np.isin(self.class_map, self._ids(classes))

    def matte(self, *classes: str | int | Iterable[str | int], edge: Edge = EDGE) -> npt.NDArray[np.float32]:
        """How opaque each pixel is where these classes are opaque and all others clear.

        Args:
            classes: names or ids, one by one or in lists; none: all but the background.
            edge: "hard" as the class map, "soft" as the model's probability, "refined": that, or of a result without it
                the class map, refined along the picture's edges.

        Returns:
            (H, W) float32, 0 to 1. Probabilities are there where the Segmenter was told `alpha_of` just these classes.

        Raises UsageError for soft edges where they are not.

        >>> model = Segmenter("builtin", alpha_of=["hair"])
        >>> rgba = np.dstack([image, np.rint(model(image).matte("hair") * 255).astype(np.uint8)])
        """
        try:
            return MatteMaker(self._ids(classes) if classes else None, edge)(self)
        except OutputError as error:
            raise UsageError(f"{error}; give alpha_of to the Segmenter") from error

    def polygons(self, *classes: str | int | Iterable[str | int]) -> dict[str, list[Ring]]:
        """The outlines of some classes.

        Args:
            classes: names or ids, one by one or in lists; none: all that were found.

        Returns:
            By class name, the rings around it and around its holes, each (N, 2) int32 of x, y in pixels; none for a
            class that is not there. `cv2.drawContours(mask, rings, -1, 1, cv2.FILLED)` with all rings of a class gives
            its mask back exactly.

        >>> for ring in result.polygons("hair")["Hair"]:
        ...     print(ring.shape)
        """
        rings = polygons(self.class_map, self.extents, self._asked_or_found(classes))
        return {self.classes.names[index]: found for index, found in rings.items()}

    def rle(self, *classes: str | int | Iterable[str | int]) -> dict[str, Rle]:
        """The run lengths of some classes, as COCO has them.

        Args:
            classes: names or ids, one by one or in lists; none: all that were found.

        Returns:
            By class name, {"size": [H, W], "counts": text}, which `pycocotools.mask.decode` takes.

        >>> np.array_equal(pycocotools.mask.decode(result.rle("hair")["Hair"]), result.mask("hair"))
        True
        """
        found = rle(self.class_map, self._asked_or_found(classes))
        return {self.classes.names[index]: lengths for index, lengths in found.items()}

    def to_dict(
        self,
        *,
        regions: Regions = REGIONS,
        title: str = TITLE,
        classes: Iterable[str | int] | None = None,
    ) -> dict[str, Any]:
        """What the JSON file of this result holds, schema "sapiens-stream/1", as JSON's own types.

        Args:
            regions: how the region of a class is written: "polygons", "rle", or "none".
            title: written as it is.
            classes: names or ids; None: all.

        >>> [label["name"] for label in result.to_dict()["labels"]]
        ['Face_Neck', 'Hair', 'Upper_Clothing']
        """
        text = as_json(self, title=title, regions=regions, only=self._only(classes))
        return dict(json.loads(text))

    def overlay(
        self,
        opacity: float = OPACITY,
        *,
        keep_background: bool = False,
        classes: Iterable[str | int] | None = None,
        color_by: ColourBy = COLOUR_BY,
        ids: bool = False,
    ) -> UInt8Array:
        """The picture with the classes' colours over it, or with people's.

        Args:
            opacity: of the colours, 0 to 1.
            keep_background: leave the background as it is; it is painted with its own dark colour by default.
            classes: names or ids of those that are painted; None: all.
            color_by: "person" gives each person a colour in place of each class, as people were looked for.
            ids: write people's ids beside their heads.

        Returns:
            (H, W, 3) uint8 RGB, a new array.
        """
        outputs = Outputs(
            opacity=opacity, keep_background=keep_background, only=self._only(classes), color_by=color_by, ids=ids
        )
        self._require_people(outputs)
        painted = outputs.painter(self.classes).paint(self.frame.rgb, outputs.colouring.seen(self).class_map)
        write_on(painted, outputs.colouring.marks(self))
        return painted

    def save(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        *,
        overlay: Literal["frames", "none"] = "frames",
        save: str | Iterable[str] = SAVE_OF_PHOTOS,
        opacity: float = OPACITY,
        keep_background: bool = False,
        classes: Iterable[str | int] | None = None,
        regions: Regions = REGIONS,
        title: str = TITLE,
        save_format: PictureFormat = PICTURE_FORMAT,
        side_by_side: bool = False,
        color_by: ColourBy = COLOUR_BY,
        ids: bool = False,
    ) -> None:
        """Writes NAME.png (the overlay), NAME.npy, NAME_seg.npy and NAME.json into `folder`, as `images` does.

        Args:
            name: of the files, "/" between folders; None: that of the frame.
            overlay: "none" leaves the picture out.
            save: any of "classes" (`_seg.npy`), "foreground" (`.npy`), "json", "people" (`_people.npy`, uint16 ids of
                people), "cryptomatte" (`_cryptomatte.exr`, soft where the Segmenter was told `ranks`), in a list or
                separated by commas.
            opacity, keep_background, color_by, ids: of the overlay; see `overlay`.
            classes: names or ids of those that are painted and written; None: all.
            regions, title: of the JSON; see `to_dict`.
            save_format: of the overlay: "png", "jpg" or "bmp".
            side_by_side: put the picture itself to the overlay's left.

        Raises UsageError for a choice that there is not, or a folder that is no path, OutputError where a file cannot
        be written.

        >>> result.save("results", "astronaut", save="json", overlay="none", classes=["hair"])
        """
        if not isinstance(folder, (str, os.PathLike)):
            raise UsageError(f"the folder is {folder!r}; it is a path, such as 'results'")
        require_known("overlay", [overlay], spanning=False)
        outputs = Outputs(
            overlay=overlay,
            save=parse_save(save, spanning=False),
            opacity=opacity,
            keep_background=keep_background,
            only=self._only(classes),
            regions=regions,
            title=title,
            save_format=save_format,
            side_by_side=side_by_side,
            color_by=color_by,
            ids=ids,
        )
        self._require_people(outputs)
        frame = self.frame
        if name is not None:
            frame = replace(frame.with_picture(frame.rgb), name=name)
        info = SourceInfo(name=frame.name, kind="photos", frame_count=1, size=frame.size)
        for sink in outputs.sinks(Path(folder), frame.name, info, self.classes, warnings.warn):
            sink.write(replace(self, frame=frame))
            sink.close()

    def to_supervision(self) -> supervision.Detections:
        """The classes that were found as `supervision.Detections`, one each; where people were told apart, of each.

        Returns:
            Detections with `xyxy` (N, 4), `mask` (N, H, W) bool, `class_id` (N,), and the names as
            `data["class_name"]`. A class map has no confidences, so `confidence` is None. `tracker_id` (N,) are the
            people's ids, 0 being nobody's; None where people were not told apart.

        Raises UsageError where the package is missing.

        >>> supervision.MaskAnnotator().annotate(image.copy(), result.to_supervision())
        """
        try:
            import supervision
        except ImportError as error:
            raise UsageError(
                f"to_supervision needs the package supervision: {pip_install()} supervision ({error})"
            ) from error

        found = find_instances(self.class_map, self.person_map, self.classes)
        if not found:
            return supervision.Detections.empty()
        boxes = np.array([each.label.bbox for each in found], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        ids = np.array([each.label.id for each in found])
        masks = self.class_map == ids[:, None, None]
        people = None
        if self.person_map is not None:
            people = np.array([each.person or 0 for each in found])
            masks &= self.person_map == people[:, None, None]
        return supervision.Detections(
            xyxy=boxes,
            mask=masks,
            class_id=ids,
            tracker_id=people,
            data={"class_name": np.array([each.label.name for each in found])},
        )

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the overlay, made smaller if it is large."""
        picture = self.overlay()
        scale = _NOTEBOOK_PIXELS / max(picture.shape)
        if scale < 1:
            size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        return encode_png(picture)

    def _require_people(self, outputs: Outputs) -> None:
        if self.people is None and (PEOPLE in outputs.save or outputs.color_by == "person" or outputs.ids):
            raise UsageError(f"{self.frame.name}: people were not looked for; a Segmenter(people=...) looks for them")

    def _ids(self, classes: Iterable[str | int | Iterable[str | int]]) -> tuple[int, ...]:
        flat: list[str | int] = []
        for each in classes:
            if isinstance(each, Iterable) and not isinstance(each, str):
                flat.extend(each)
            else:
                flat.append(each)
        return self.classes.ids(flat)

    def _asked_or_found(self, classes: tuple[str | int | Iterable[str | int], ...]) -> tuple[int, ...]:
        return self._ids(classes) if classes else tuple(label.id for label in self.labels)

    def _only(self, classes: Iterable[str | int] | None) -> tuple[int, ...] | None:
        return None if classes is None else self._ids([classes])


def result_of(found: Segmentation) -> Result:
    """The same as a Result."""
    return Result(**{each.name: getattr(found, each.name) for each in fields(found)})
