"""The table of all that can be written: an output is a file of its own in this room, and one row here.

Nothing heavy is imported, so that a command's help can list it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream import settings
from sapiens_stream.errors import UsageError
from sapiens_stream.sinks.mattes.kinds import SEQUENCES, VIDEOS

if TYPE_CHECKING:
    from sapiens_stream.colouring import Colouring
    from sapiens_stream.frame import SourceInfo
    from sapiens_stream.painting import Painter
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.sink import Sink

NONE = "none"
"""Chooses nothing, for any option that takes words."""

PAINTED = ("opacity", "keep_background", "color_by", "ids")
"""The fields of `Outputs` that say how a picture is painted."""
_OF_JSON = ("regions", "title")
_OF_MATTES = ("matte_only", "premultiplied", "edge")

PEOPLE = "people"
"""Chooses what is there only where people are looked for one by one."""
NOBODY_LOOKED_FOR = "people are not looked for one by one: --people builtin finds them"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a sink writes and what for. `path` is the file of an output that spans the clip; else the folder.

    `painter` knows the classes, and which of them are wanted, `colouring` whether it paints them or people.
    """

    path: Path
    source: SourceInfo
    painter: Painter
    colouring: Colouring
    warn: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class OutputKind:
    """A row: one thing that can be written, and how it is asked for.

    `option` is the field of `Outputs` that asks for it, which the commands have as `--option`: with `word`, or, where
    that is None, as a switch. `help` is what it is, in a few words.
    `ending` is what the names of its files end in; one that `spans` the clip is a single file, CLIP + ending, any other
    a file a frame. `one_size` says of the former that it holds frames of one size alone: a live source that changes its
    size gets another. `of_photos` says whether a source of photos has it, `of_people` whether it is made of who is who.

    `takes` are the fields of `Outputs` that say how it is written, beside `only`: without such an output they say
    nothing. `open` makes the sink. `needs` is what a Segmenter has to be told so that results hold what it takes beside
    class maps, by the fields of InferenceOptions; `Outputs.needs` gathers it. What disk it takes and which files it
    made are the sink's own to say.
    """

    option: str
    word: str | None
    help: str
    ending: str | Callable[[Outputs], str]
    spans: bool = False
    one_size: bool = False
    of_photos: bool = True
    of_people: bool = False
    takes: Collection[str] = ()
    open: Callable[[Outputs, Target], Sink]
    needs: Callable[[Outputs], Mapping[str, Any]] = lambda outputs: {}

    def is_chosen(self, outputs: Outputs) -> bool:
        """Whether the outputs hold it."""
        value = getattr(outputs, self.option)
        return self.word in value if isinstance(value, frozenset) else value == (self.word or True)

    def ending_for(self, outputs: Outputs) -> str:
        """What the names of its files end in with these choices."""
        return self.ending if isinstance(self.ending, str) else self.ending(outputs)


def _in(place: str) -> Callable[[Outputs, Target], Sink]:
    """A function of a file in this room, "masks.class_maps", imported when it is called."""
    module, _, name = place.rpartition(".")

    def make(outputs: Outputs, target: Target) -> Sink:
        sink: Sink = getattr(import_module(f"sapiens_stream.sinks.{module}"), name)(outputs, target)
        return sink

    return make


def _overlay_ending(outputs: Outputs) -> str:
    from sapiens_stream.sinks.video.encoders import container_for

    return settings.OVERLAY_FILE + container_for(outputs.codec)


def _alpha(outputs: Outputs) -> Mapping[str, Any]:
    """What mattes need, unless their edges are those of the class map."""
    if outputs.edge == "hard":
        return {}
    return {"alpha_of": settings.FOREGROUND if outputs.only is None else outputs.only}


def _confidence(outputs: Outputs) -> Mapping[str, Any]:
    """How likely the likeliest class of each place is."""
    return {"ranks": 1}


OUTPUTS: tuple[OutputKind, ...] = (
    OutputKind(
        option="overlay",
        word="video",
        help="one file",
        ending=_overlay_ending,
        spans=True,
        one_size=True,
        takes=(*PAINTED, "codec", "crf", "preset", "audio"),
        open=_in("video.overlay.overlay_video"),
    ),
    OutputKind(
        option="overlay",
        word="frames",
        help="a picture each",
        ending=lambda outputs: f".{outputs.save_format}",
        takes=(*PAINTED, "save_format", "side_by_side"),
        open=_in("pictures.overlay_pictures"),
    ),
    OutputKind(
        option="save",
        word="classes",
        help=f"class ids, {settings.CLASS_MAP_FILE}",
        ending=settings.CLASS_MAP_FILE,
        open=_in("masks.class_maps"),
    ),
    OutputKind(
        option="save",
        word="foreground",
        help=f"where anybody is, {settings.FOREGROUND_FILE}",
        ending=settings.FOREGROUND_FILE,
        open=_in("masks.foreground_masks"),
    ),
    OutputKind(
        option="save",
        word="json",
        help="the parts and their outlines",
        ending=settings.JSON_FILE,
        takes=_OF_JSON,
        open=_in("json_file.frame_json"),
    ),
    OutputKind(
        option="save",
        word="labels",
        help="class ids as one exact and small video",
        ending=settings.LABEL_VIDEO_FILE,
        spans=True,
        one_size=True,
        open=_in("label_video.label_video"),
    ),
    OutputKind(
        option="save",
        word=PEOPLE,
        help=f"whose each pixel is, {settings.PERSON_MAP_FILE}",
        ending=settings.PERSON_MAP_FILE,
        of_people=True,
        open=_in("person_maps.person_maps"),
    ),
    OutputKind(
        option="save",
        word=PEOPLE,
        help="of a clip as a video too",
        ending=settings.PERSON_VIDEO_FILE,
        spans=True,
        one_size=True,
        of_photos=False,
        of_people=True,
        open=_in("person_maps.person_video"),
    ),
    OutputKind(
        option="save",
        word="jsonl",
        help="json, a frame a line of one file",
        ending=settings.JSON_LINES_FILE,
        spans=True,
        takes=_OF_JSON,
        open=_in("json_lines.json_lines"),
    ),
    OutputKind(
        option="save",
        word="statistics",
        help="areas, boxes and flicker of each class, as one CSV",
        ending=settings.STATISTICS_CSV_FILE,
        spans=True,
        needs=_confidence,
        open=_in("statistics_files.statistics_csv"),
    ),
    OutputKind(
        option="save",
        word="parquet",
        help="the same figures as Parquet",
        ending=settings.STATISTICS_PARQUET_FILE,
        spans=True,
        needs=_confidence,
        open=_in("statistics_files.statistics_parquet"),
    ),
    OutputKind(
        option="save",
        word="cryptomatte",
        help="ids of parts and people for compositors, OpenEXR",
        ending=settings.CRYPTOMATTE_FILE,
        of_people=True,
        takes=("start_number",),
        needs=lambda outputs: {"ranks": settings.CRYPTOMATTE_RANKS},
        open=_in("cryptomatte.sink.cryptomatte"),
    ),
    OutputKind(
        option="contact_sheet",
        word=None,
        help="some frames at a glance, as a PNG",
        ending=settings.CONTACT_SHEET_FILE,
        spans=True,
        takes=PAINTED,
        open=_in("contact_sheet.contact_sheet"),
    ),
    *(
        OutputKind(
            option="matte",
            word=each.word,
            help=each.help,
            ending=f"{settings.MATTE_FILE}_{each.word}{each.extension}",
            spans=True,
            one_size=True,
            takes=(*_OF_MATTES, "audio"),
            needs=_alpha,
            open=_in("mattes.video.matte_video"),
        )
        for each in VIDEOS
    ),
    *(
        OutputKind(
            option="matte",
            word=each.word,
            help=each.help,
            ending=each.ending,
            takes=(*_OF_MATTES, "start_number"),
            needs=_alpha,
            open=_in("mattes.sequence.matte_sequence"),
        )
        for each in SEQUENCES
    ),
)


def kinds(option: str) -> list[OutputKind]:
    """The rows of an option."""
    return [kind for kind in OUTPUTS if kind.option == option]


def kind(option: str, word: str) -> OutputKind:
    """One row, of several of a word the first."""
    return next(each for each in kinds(option) if each.word == word)


def words(option: str, *, spanning: bool = True) -> list[str]:
    """What can be asked for with an option; without `spanning` only what is written for each frame."""
    found = [kind.word for kind in kinds(option) if kind.word is not None and (spanning or not kind.spans)]
    return list(dict.fromkeys(found))


def described(option: str, *, spanning: bool = True) -> str:
    """Its words and what they mean, or of a switch what it writes; for the help of the commands.

    Without `spanning` only what is written for each frame.
    """
    helps: dict[str | None, list[str]] = {}
    for kind in kinds(option):
        if kind.spans and not spanning:
            continue
        helps.setdefault(kind.word, []).append(kind.help)
    return ", ".join(f"{word} ({'; '.join(told)})" if word else "; ".join(told) for word, told in helps.items())


def parse_save(save: str | Iterable[str], *, spanning: bool = True) -> frozenset[str]:
    """The set of outputs that a text, or a list, names.

    Args:
        save: words of the table, separated by commas or one by one; "none" is the empty set.
        spanning: whether what spans a clip is taken, as it is not for a single picture.

    Returns:
        The words.

    Raises:
        UsageError: for any other word, and for "none" beside others.

    >>> sorted(parse_save("json, classes"))
    ['classes', 'json']
    """
    if not isinstance(save, Iterable):
        raise UsageError(f"save is {save!r}; it is words such as 'classes,json', or 'none'")
    text = save if isinstance(save, str) else ",".join(map(str, save))
    given = frozenset(word.strip() for word in text.split(",")) - {""}
    chosen = given - {NONE}
    require_known("save", chosen, spanning=spanning)
    if chosen and NONE in given:
        raise UsageError(f"can't save {NONE} and {', '.join(sorted(chosen))}; give one of them")
    return chosen


def require_known(option: str, chosen: Iterable[str], *, spanning: bool = True) -> None:
    """Raises UsageError for a word that the option does not have, naming those that it has."""
    known = words(option, spanning=spanning)
    if unknown := sorted({str(each) for each in chosen} - {*known, NONE}):
        there_are = f"there are {', '.join(known)}, or {NONE}"
        if option == "save":
            raise UsageError(f"can't save {', '.join(unknown)}; {there_are}")
        raise UsageError(f"{option} is {unknown[0]!r}; {there_are}")
