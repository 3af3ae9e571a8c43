"""CVAT's XML, which datumaro (https://github.com/open-edge-platform/datumaro) writes.

datumaro asks for opencv-python-headless, whose files would take the place of opencv-python's; it runs with either, so
that it is installed without what it asks for, which the extra has.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sapiens_stream.errors import OutputError, cause
from sapiens_stream.results.export.extra import needing
from sapiens_stream.results.export.target import Target
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.instances import find_instances, instance_mask
from sapiens_stream.text import encodable

if TYPE_CHECKING:
    from datumaro.components.dataset_base import DatasetItem, SubsetBase

WITHOUT_DEPENDENCIES = "--no-deps 'datumaro>=1.13,<2'"

_SUBSET = "train"


def write_cvat(frames: Iterable[StoredFrame], target: Target) -> None:
    """train.xml, "CVAT for images 1.1", a mask an instance; `person` is an attribute of it."""
    with needing("cvat", WITHOUT_DEPENDENCIES):
        from datumaro.plugins.data_formats.cvat.exporter import CvatExporter

    images = target.choices.images
    ending = f".{images}" if images is not None else None  # pictures that are not written keep their own
    logging.getLogger("datumaro").setLevel(logging.ERROR)
    try:
        data = _data(frames, target)
        CvatExporter(data, str(target.folder), save_media=images is not None, image_ext=ending).apply()
    except OSError:
        raise
    except Exception as error:  # it has a tree of its own, and wraps what it met
        met = error.__cause__.__cause__ if error.__cause__ is not None else None
        raise OutputError(f"{target.folder} can't be written: {cause(met or error)}") from error


def _data(frames: Iterable[StoredFrame], target: Target) -> SubsetBase:
    """The frames as datumaro takes them: one after the other, each once."""
    from datumaro.components.annotation import AnnotationType, LabelCategories
    from datumaro.components.dataset_base import SubsetBase

    labels = LabelCategories(attributes={"person"})
    for name in target.classes:
        labels.add(name)

    class Frames(SubsetBase):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(subset=_SUBSET)
            self._categories = {AnnotationType.label: labels}

        def __iter__(self) -> Iterator[DatasetItem]:
            return (_item(frame, target) for frame in frames)

        def __len__(self) -> int:
            return target.frame_count or 0

        def subsets(self) -> dict[str, Any]:
            return {_SUBSET: self}

    return Frames()


def _item(frame: StoredFrame, target: Target) -> DatasetItem:
    from datumaro.components.annotation import Mask
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    masks = []
    for number, instance in enumerate(find_instances(frame.class_map, frame.person_map, target.classes), 1):
        part, (x, y) = instance_mask(instance, frame.class_map, frame.person_map)
        mask = np.zeros(frame.size, np.uint8)
        mask[y : y + part.shape[0], x : x + part.shape[1]] = part
        told = {"person": instance.person} if instance.person is not None else {}
        masks.append(Mask(mask, label=instance.label.id, group=number, attributes=told))
    height, width = frame.size
    picture = frame.picture
    if picture is not None:
        media = Image.from_numpy(np.ascontiguousarray(picture[..., ::-1]), size=(height, width))
    else:
        media = Image.from_file(encodable(target.picture_name(frame)), size=(height, width))
    return DatasetItem(
        encodable(target.item_name(frame)),
        subset=_SUBSET,
        media=media,
        annotations=masks,
        attributes={"frame": frame.index},
    )
