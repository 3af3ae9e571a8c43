"""Which results a run writes, and how: one set of choices, from which the table of outputs makes the sinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from sapiens_stream import settings
from sapiens_stream.classes import ClassSet
from sapiens_stream.colouring import Colouring
from sapiens_stream.errors import UsageError
from sapiens_stream.frame import SourceInfo
from sapiens_stream.painting import Painter
from sapiens_stream.sinks import registry
from sapiens_stream.sinks.mattes.kinds import has_no_picture
from sapiens_stream.sinks.numbered import Numbered
from sapiens_stream.sinks.registry import OutputKind, Target
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sinks.video.encoders import require_fitting


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written for each frame.

    Args:
        overlay: the painted frames: "video", "frames" or "none"; words of the table in `sinks.registry`.
        overlay_file: where the overlay video of a single input goes; None: beside its other results.
        save: what else, words of the table too, or the empty set; of a text or a list `parse_save` makes it.
        opacity: of the classes' colours, 0 to 1.
        keep_background: leave the background as it is.
        color_by: "class", or "person", which gives each person a colour in place of each class.
        ids: write people's ids beside their heads.
        only: the ids of the classes that are painted and written; None: all.
        regions: how the JSON tells where a class is: "polygons", "rle" or "none".
        title: written into each JSON.
        save_format: of overlay pictures: "png", "jpg" or "bmp".
        side_by_side: put the picture itself to the overlay's left.
        codec: the encoder of the overlay video, by FFmpeg's name.
        crf: its quality, lower is better; None: the encoder's own.
        preset: its speed.
        audio: which sounds of the source are kept: "all" (True), "first" or "none" (False).
        gpu: the number of the CUDA card that NVENC encodes on; None: the first.
        contact_sheet: some frames at a glance, as a PNG.
        matte: the picture with the classes of `only` opaque and all else clear, a word of the table, or "none".
        matte_only: the matte alone, as grey, without the picture.
        premultiplied: the matte's colours are multiplied by its alpha.
        edge: of the matte: "hard" as the class map, "soft" as the model's probability, or that "refined" along the
            picture's edges.
        start_number: of the first file of a numbered sequence; None: 0, and of numbered pictures their own.

    Raises:
        UsageError: for a word that there is not, and where nothing would be written.

    >>> Outputs(save=parse_save("labels")).paths(Path("out"), "clip")
    [PosixPath('out/clip_overlay.mp4'), PosixPath('out/clip_labels.mkv')]
    """

    overlay: str = settings.OVERLAY
    overlay_file: Path | None = None
    save: frozenset[str] = registry.parse_save(settings.SAVE)
    opacity: float = settings.OPACITY
    keep_background: bool = False
    color_by: settings.ColourBy = settings.COLOUR_BY
    ids: bool = False
    only: tuple[int, ...] | None = None
    regions: settings.Regions = settings.REGIONS
    title: str = settings.TITLE
    save_format: settings.PictureFormat = settings.PICTURE_FORMAT
    side_by_side: bool = False
    codec: str = settings.CODEC
    crf: int | None = None
    preset: str = settings.PRESET
    audio: settings.Audio | bool = settings.AUDIO
    gpu: int | None = None
    contact_sheet: bool = False
    matte: str = settings.MATTE
    matte_only: bool = False
    premultiplied: bool = False
    edge: settings.Edge = settings.EDGE
    start_number: int | None = None

    def __post_init__(self) -> None:
        flags = {each.name: getattr(self, each.name) for each in fields(self) if isinstance(each.default, bool)}
        if unclear := settings.unclear_flag(**flags):
            raise UsageError(unclear)
        object.__setattr__(self, "save", registry.parse_save(self.save))
        if self.overlay_file is not None:
            object.__setattr__(self, "overlay_file", Path(self.overlay_file))
        registry.require_known("overlay", [self.overlay])
        if self.color_by not in get_args(settings.ColourBy):
            raise UsageError(f"color_by is {self.color_by!r}; there are {', '.join(get_args(settings.ColourBy))}")
        registry.require_known("matte", [self.matte])
        self._check_matte()
        if not self.kinds:
            savable = ", ".join(registry.words("save"))
            raise UsageError(f"no overlay, and none of {savable} to save: there is nothing to write")
        if self.overlay_file is not None:
            require_fitting(self.codec, self.overlay_file)

    def _check_matte(self) -> None:
        asked = [name for name in ("matte_only", "premultiplied") if getattr(self, name)]
        if self.edge != settings.EDGE:
            asked.append("edge")
        if self.start_number is not None and not any("start_number" in kind.takes for kind in self.kinds):
            asked.append("start_number")
        if asked and self.matte == registry.NONE:
            raise UsageError(f"--{asked[0].replace('_', '-')} is of a matte, and none is asked for; add --matte KIND")
        if self.premultiplied and (self.matte_only or has_no_picture(self.matte)):
            raise UsageError("--premultiplied is of a picture with its matte; this is the matte alone")
        Numbered(settings.MATTE_FILE, "", self.start_number)

    @property
    def kinds(self) -> list[OutputKind]:
        """The rows of the table that were chosen."""
        return [kind for kind in registry.OUTPUTS if kind.is_chosen(self)]

    @property
    def needs(self) -> dict[str, Any]:
        """What a Segmenter has to be told so that results hold all that is written."""
        found: dict[str, Any] = {}
        for kind in self.kinds:
            for name, value in kind.needs(self).items():
                found[name] = max(value, found.get(name, 0)) if isinstance(value, int) else value
        return found

    @property
    def tells_people(self) -> bool:
        """Whether it is made of who is who, beside JSON and figures, which have that where it is known."""
        return any(kind.of_people for kind in self.kinds) or self.color_by == "person" or self.ids

    def path(self, kind: OutputKind, root: Path, stem: str) -> Path:
        """Where an output that spans an input goes.

        Args:
            kind: the output's row of the table.
            root: the folder of the results.
            stem: the input's name there.
        """
        if (kind.option, kind.word) == ("overlay", "video") and self.overlay_file is not None:
            return self.overlay_file
        return root / f"{stem}{kind.ending_for(self)}"

    def paths(self, root: Path, stem: str) -> list[Path]:
        """The files of an input that are no frame's.

        Args:
            root: the folder of the results.
            stem: the input's name there.
        """
        return [self.path(kind, root, stem) for kind in self.kinds if kind.spans]

    def sinks(
        self,
        root: Path,
        stem: str,
        source: SourceInfo,
        classes: ClassSet,
        warn: Callable[[str], None],
    ) -> list[Sink]:
        """The sinks for one source, none of which has written anything yet.

        Args:
            root: the folder of the results.
            stem: the input's name there.
            source: what is known of it.
            classes: what the model tells apart.
            warn: called with a sentence about what cannot be kept.
        """
        painter = self.painter(classes)
        return [
            kind.open(
                self,
                Target(
                    path=self.path(kind, root, stem) if kind.spans else root,
                    source=source,
                    painter=painter,
                    colouring=self.colouring,
                    warn=warn,
                ),
            )
            for kind in self.kinds
            if kind.of_photos or source.kind != "photos"
        ]

    def painter(self, classes: ClassSet) -> Painter:
        """Paints as these outputs are painted.

        Args:
            classes: what the model tells apart.
        """
        return Painter(
            self.colouring.classes(classes),
            opacity=self.opacity,
            keep_background=self.keep_background,
            only=self.colouring.painted,
        )

    @property
    def colouring(self) -> Colouring:
        """What their colours tell."""
        return Colouring(by=self.color_by, ids=self.ids, only=self.only)
