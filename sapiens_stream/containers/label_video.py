"""A label video as a sequence of class maps, and a person video as one of maps of people."""

from __future__ import annotations

import json
import os
from typing import ClassVar

import numpy as np

from sapiens_stream.classes import ClassSet, numbered
from sapiens_stream.containers.map_video import CLASS_SET, CLASSES, COLOURS, PEOPLE, MapVideo
from sapiens_stream.settings import MAX_PIXELS


class LabelVideo(MapVideo[np.uint8]):
    """The class maps of a video, as `--save labels` writes them: NAME_labels.mkv.

    It is a sequence: `len(video)`, `video[i]`, `video[-1]`, `video[10:20]`, `for class_map in video`. A frame is read
    when it is asked for, any in the same time, and none is kept; a slice is a sequence that reads as late. A file that
    a killed run left, or that was cut short, holds the frames that are whole. May be shared between threads and forked
    processes; pickled, it is opened anew where it comes.

    Args:
        path: the file. Any other Matroska file of FFV1 in grey will do too.
        max_pixels: of a frame; a file with more is refused.

    Attributes:
        path: the file.
        classes: the names by class id, with colours: a ClassSet; "Class_1", ... where the file does not tell.
        times: the time of each frame in seconds, a sequence of Fraction; those of the source to the tick.
        size: (height, width) of the class maps, pixels.
        frame_rate: frames a second, on average; None where the file does not tell.
        model: the name of the model that found the classes, "" where the file does not tell.
        fingerprint: a hash over what made the class maps: input, model, settings; "" where the file does not tell.

    Raises InputError where it cannot be opened, or is no label video; and, by `[i]`, iteration and `times`, for a
    frame that is damaged. IndexError for a frame that is not there. UsageError for what is no path, or no number of
    pixels.

    >>> from sapiens_stream import LabelVideo
    >>> with LabelVideo("output/clip_labels.mkv") as video:
    ...     hair = video.classes.ids(["Hair"])[0]
    ...     share = [(class_map == hair).mean() for class_map in video[::25]]
    """

    _noun: ClassVar[str] = "label video"
    _content: ClassVar[str] = ""
    _formats: ClassVar[tuple[str, ...]] = ("gray", "gray8")
    _dtype = np.uint8

    def __init__(self, path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> None:
        super().__init__(path, max_pixels=max_pixels)
        self.classes = _classes(self._tags)


class PersonVideo(MapVideo[np.uint16]):
    """Whose each pixel of a video is, as `--save people` writes it: NAME_people.mkv.

    It is a sequence as LabelVideo is, of (H, W) uint16: the ids that the JSON has, from 1; 0 is nobody's. It has the
    same attributes but for `classes`.

    >>> from sapiens_stream import PersonVideo
    >>> with PersonVideo("output/clip_people.mkv") as video:
    ...     share = [(person_map == 1).mean() for person_map in video]
    """

    _noun: ClassVar[str] = "person video"
    _content: ClassVar[str] = PEOPLE
    _formats: ClassVar[tuple[str, ...]] = ("gray16le",)
    _dtype = np.uint16


def _classes(tags: dict[str, str]) -> ClassSet:
    """Those of the tags, which anybody may have edited."""
    try:
        return ClassSet.told(tags.get(CLASS_SET, ""), json.loads(tags[CLASSES]), json.loads(tags[COLOURS]))
    except (KeyError, ValueError, RecursionError):
        return numbered(256)
