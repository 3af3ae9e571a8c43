"""Where an export goes, and how it was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import orjson

from sapiens_stream.classes import ClassSet
from sapiens_stream.errors import OutputError
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.files import path_below, written_aside
from sapiens_stream.sinks.png import encode_png

Regions = Literal["rle", "polygons"]
Images = Literal["jpg", "png"]
Layout = Literal["plain", "lip", "cihp"]

_JPEG_QUALITY = 95


def in_a_line(name: str) -> str:
    """A name as lists and files have it: the line ends in it would make two lines of it there."""
    return name.replace("\r", "%0D").replace("\n", "%0A")


def to_json(record: object) -> bytes:
    """As JSON; a name that is no text has its escapes."""
    try:
        return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return json.dumps(record, default=lambda array: array.tolist()).encode()


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a format is called with. `images` is what the pictures become, None: they are not written."""

    regions: Regions = "rle"
    images: Images | None = None
    layout: Layout = "plain"


@dataclass(frozen=True, kw_only=True)
class Target:
    """`folder` is where files go, `classes` those that class maps hold by now.

    `picture_name` tells what the picture of a frame is called, where it is written or would be. `frame_count` is None
    where it is not known beforehand.
    """

    folder: Path
    stem: str
    classes: ClassSet
    choices: Choices
    picture_name: Callable[[StoredFrame], str]
    frame_count: int | None = None

    def item_name(self, frame: StoredFrame) -> str:
        """What the files of a frame are called: of a clip CLIP_000012, so that those of several can lie together."""
        is_of_clip = frame.name == f"{self.stem}/{frame.index:06d}"
        return in_a_line(f"{self.stem}_{frame.index:06d}" if is_of_clip else frame.name)

    def write_picture(self, frame: StoredFrame, folder: str = "images") -> None:
        """Writes the picture of a frame, if pictures are written, below a folder of the export's."""
        if frame.picture is None or self.choices.images is None:
            return
        ending = f".{self.choices.images}"
        path = path_below(self.folder / folder, self.item_name(frame), ending)
        if ending == ".png":
            data = encode_png(frame.picture)
        else:
            done, buffer = cv2.imencode(".jpg", frame.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            if not done:
                raise OutputError(f"{path} can't be written: a JPEG has no {frame.size[1]}x{frame.size[0]} pixels")
            data = buffer.tobytes()
        with written_aside(path) as file:
            file.write(data)
