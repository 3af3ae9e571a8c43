"""The table of export formats: a format is a file of its own in this room, and one row here.

Nothing heavy is imported, so that the command's help can list it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sapiens_stream.results.export.target import Target
    from sapiens_stream.results.stored import StoredFrame

Write = Callable[[Iterable["StoredFrame"], "Target"], None]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A row: `word` asks for it, `help` says what it is. `write` takes the frames of a clip, one at a time.

    One that is `loose` puts its files where the clip's own would be; any other has a folder of its own, STEM_WORD.
    `takes` are the fields of `Choices` that it has a use for.
    """

    word: str
    help: str
    write: Write
    loose: bool = False
    takes: Collection[str] = ("images",)


def _in(place: str) -> Write:
    """A function of a file in this room, "coco.write", imported when it is called."""
    module, _, name = place.rpartition(".")

    def write(frames: Iterable[StoredFrame], target: Target) -> None:
        getattr(import_module(f"sapiens_stream.results.export.{module}"), name)(frames, target)

    return write


FORMATS: tuple[Format, ...] = (
    Format(
        word="npy",
        help="class ids, a file a frame",
        write=_in("class_maps.write_npy_files"),
        loose=True,
        takes=(),
    ),
    Format(
        word="png",
        help="the same in the classes' colours",
        write=_in("class_maps.write_png_files"),
        loose=True,
        takes=(),
    ),
    Format(
        word="palette",
        help="palette PNG, as LIP and CIHP have them",
        write=_in("palette.write"),
        takes=("images", "layout"),
    ),
    Format(word="coco", help="one JSON", write=_in("coco.write"), takes=("images", "regions")),
    Format(word="yolo", help="polygons", write=_in("from_supervision.write_yolo")),
    Format(word="labelme", help="JSON", write=_in("from_supervision.write_labelme")),
    Format(word="cvat", help="for images 1.1", write=_in("from_datumaro.write_cvat")),
    Format(word="voc", help="Pascal VOC", write=_in("voc.write")),
    Format(word="labelstudio", help="brush masks", write=_in("label_studio.write")),
)


def named(word: str) -> Format:
    """One row."""
    return next(each for each in FORMATS if each.word == word)


def words() -> list[str]:
    """What can be asked for."""
    return [each.word for each in FORMATS]


def taking(choice: str) -> str:
    """The words of those that have a use for a field of `Choices`."""
    return ", ".join(each.word for each in FORMATS if choice in each.takes)


def described() -> str:
    """The words and what they mean, for the help."""
    return ", ".join(f"{each.word} ({each.help})" for each in FORMATS)
