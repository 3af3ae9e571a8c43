"""Which results a run writes, and how: from one set of choices to the sinks that carry it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sapiens_stream.classes import ClassSet
from sapiens_stream.errors import UsageError
from sapiens_stream.frame import SourceInfo
from sapiens_stream.painting import Painter
from sapiens_stream.sinks.contact_sheet import ContactSheet
from sapiens_stream.sinks.json_file import JsonSink
from sapiens_stream.sinks.masks import MaskSink
from sapiens_stream.sinks.pictures import PictureSink
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sinks.video.companions import Audio
from sapiens_stream.sinks.video.encoders import require_fitting
from sapiens_stream.sinks.video.overlay import OverlayVideo, container_for

SAVABLE = ("classes", "foreground", "json")


def parse_save(text: str) -> frozenset[str]:
    """The set in "classes,json"; "none" is the empty one. Raises UsageError for any other word."""
    words = {word.strip() for word in text.split(",")} - {"", "none"}
    if unknown := sorted(words - set(SAVABLE)):
        raise UsageError(f"can't save {', '.join(unknown)}; there are {', '.join(SAVABLE)}, or none")
    return frozenset(words)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written for each frame. `only` are the ids of the classes that are painted and written; None: all.

    `overlay_file` is where the overlay video of a single input goes; None: beside its other results.
    """

    overlay: Literal["video", "frames", "none"] = "video"
    overlay_file: Path | None = None
    save: frozenset[str] = frozenset({"classes", "json"})
    opacity: float = 0.5
    keep_background: bool = False
    only: tuple[int, ...] | None = None
    regions: Literal["polygons", "rle", "none"] = "polygons"
    title: str = "result"
    save_format: Literal["png", "jpg", "bmp"] = "png"
    side_by_side: bool = False
    codec: str = "libx264"
    crf: int | None = None
    preset: str = "veryfast"
    audio: Audio | bool = "all"
    gpu: int | None = None
    """The number of the CUDA card that NVENC encodes on."""
    contact_sheet: bool = False

    def __post_init__(self) -> None:
        if self.overlay == "none" and not self.save:
            raise UsageError("no overlay, and none of classes, foreground, json to save: there is nothing to write")
        if self.overlay_file is not None:
            require_fitting(self.codec, self.overlay_file)

    def overlay_path(self, root: Path, stem: str) -> Path:
        """Where the overlay video of an input goes; the extension follows the codec."""
        if self.overlay_file is not None:
            return self.overlay_file
        return root / f"{stem}_overlay{container_for(self.codec)}"

    def paths(self, root: Path, stem: str) -> list[Path]:
        """The files of an input that are no frame's."""
        paths = [self.overlay_path(root, stem)] if self.overlay == "video" else []
        return [*paths, root / f"{stem}_sheet.png"] if self.contact_sheet else paths

    def sinks(
        self, root: Path, stem: str, source: SourceInfo, classes: ClassSet, warn: Callable[[str], None]
    ) -> list[Sink]:
        """The sinks for one source, none of which has written anything yet."""
        painter = Painter(classes, opacity=self.opacity, keep_background=self.keep_background, only=self.only)
        sinks: list[Sink] = []
        if self.overlay == "video":
            sinks.append(
                OverlayVideo(
                    self.overlay_path(root, stem),
                    source,
                    painter,
                    codec=self.codec,
                    crf=self.crf,
                    preset=self.preset,
                    audio=self.audio,
                    gpu=self.gpu,
                    warn=warn,
                )
            )
        elif self.overlay == "frames":
            sinks.append(PictureSink(root, painter, save_format=self.save_format, side_by_side=self.side_by_side))
        if masks := self.save & {"classes", "foreground"}:
            sinks.append(MaskSink(root, foreground="foreground" in masks, classes="classes" in masks, only=self.only))
        if "json" in self.save:
            sinks.append(JsonSink(root, title=self.title, regions=self.regions, only=self.only))
        if self.contact_sheet:
            sinks.append(ContactSheet(root / f"{stem}_sheet.png", painter, source.frame_count))
        return sinks
