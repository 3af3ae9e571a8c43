"""Pascal VOC's segmentation (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/), in palette PNG as that set has it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sapiens_stream.classes import MAX_CLASSES
from sapiens_stream.frame import UInt8Array
from sapiens_stream.results.export.target import Target
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.files import path_below, written_aside
from sapiens_stream.sinks.instances import find_instances, instance_mask
from sapiens_stream.sinks.png import encode_palette_png

LIST = "ImageSets/Segmentation/train.txt"
CLASSES = "SegmentationClass"
OBJECTS = "SegmentationObject"
PICTURES = "JPEGImages"
COLOURS = "labelmap.txt"

_MOST_OBJECTS = MAX_CLASSES - 2
"""In a picture: 0 is the background, and 255 what is left out."""


def write(frames: Iterable[StoredFrame], target: Target) -> None:
    """SegmentationClass/NAME.png and SegmentationObject/NAME.png, the list of names, and labelmap.txt with the colours.

    A pixel is its class's id in the former, and the number of its instance, from 1, in the latter; of more than 254
    instances the first. The background is black, as the data set has it. Frames without anybody are there too.
    """
    black_behind = target.classes.palette.copy()
    black_behind[0] = 0
    objects = object_palette()
    with written_aside(target.folder / COLOURS) as file:
        file.write(_colour_table(target, black_behind))
    with written_aside(target.folder / LIST) as names:
        for frame in frames:
            _write(target, CLASSES, frame, frame.class_map, black_behind)
            _write(target, OBJECTS, frame, _instances(frame, target), objects)
            target.write_picture(frame, PICTURES)
            names.write(target.item_name(frame).encode("utf-8", "surrogateescape") + b"\n")


def object_palette() -> UInt8Array:
    """VOC's own colours, (256, 3) RGB: of each three bits of a number one is of red, one of green, one of blue."""
    numbers = np.arange(MAX_CLASSES)
    palette = np.zeros((MAX_CLASSES, 3), np.uint8)
    for place in range(3):
        for channel in range(3):
            palette[:, channel] |= ((numbers >> 3 * place + channel & 1) << 7 - place).astype(np.uint8)
    return palette


def _write(target: Target, folder: str, frame: StoredFrame, ids: UInt8Array, palette: UInt8Array) -> None:
    with written_aside(path_below(target.folder / folder, target.item_name(frame), ".png")) as file:
        file.write(encode_palette_png(ids, palette))


def _instances(frame: StoredFrame, target: Target) -> UInt8Array:
    numbers = np.zeros(frame.size, np.uint8)
    found = find_instances(frame.class_map, frame.person_map, target.classes)
    for number, instance in enumerate(found[:_MOST_OBJECTS], 1):
        mask, (x, y) = instance_mask(instance, frame.class_map, frame.person_map)
        numbers[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = number
    return numbers


def _colour_table(target: Target, palette: UInt8Array) -> bytes:
    """A line a class, as CVAT and datumaro read and write it; a colon would end a name there."""
    lines = ["# label:color_rgb:parts:actions"]
    names = [name.replace(":", "_") for name in target.classes]
    lines += [f"{name}:{','.join(map(str, palette[index]))}::" for index, name in enumerate(names)]
    return "".join(f"{line}\n" for line in lines).encode()
