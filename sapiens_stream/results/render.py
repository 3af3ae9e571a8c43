"""Results of an earlier run made again, or others, from its class maps and its source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from sapiens_stream import settings
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Damaged, Frame, Skipped, SourceInfo
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.fingerprint import content_of
from sapiens_stream.pipeline.part_run import CHUNK
from sapiens_stream.pipeline.stored_first import StoredOnly
from sapiens_stream.results.past_run import PastRun, rest_missing
from sapiens_stream.sinks import Outputs
from sapiens_stream.sinks.files import fitting
from sapiens_stream.sinks.registry import PEOPLE
from sapiens_stream.sources import Photos, Source
from sapiens_stream.sources.clip import open_clip
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.sources.sequence import parse_rate

Colours = Mapping[str | int, tuple[int, int, int]]

_OF_MATTES = ("matte", "matte_only", "premultiplied", "edge", "start_number")
_PHOTO_SETTINGS = ("decoder", "recursive", "max_pixels")


def recorded_outputs(past: PastRun, changes: Mapping[str, Any]) -> Outputs:
    """The choices of an earlier run, but for `changes`; by default its overlay and JSON.

    Raises UsageError for a change that cannot be. What stands in the record and cannot be counts as not given.
    """
    defaults = {each.name: each.default for each in fields(Outputs)}
    chosen = {
        name: value
        for name, value in past.settings.items()
        if name in defaults
        and name not in ("save", "contact_sheet", "overlay_file", *_OF_MATTES)
        and alike(value, defaults[name])
    }
    chosen["save"] = frozenset({"json"})
    if past.is_of_photos:
        chosen["overlay"] = "frames"
    elif chosen.get("overlay") == "none":
        del chosen["overlay"]
    try:
        Outputs(**chosen)
    except (UsageError, TypeError):
        chosen = {"save": chosen["save"], "overlay": "frames" if past.is_of_photos else "video"}
    return Outputs(**{**chosen, **changes})


def open_source_of(past: PastRun, given: Sequence[str]) -> Source:
    """The source of an earlier run: that of the `given` inputs which it was made of, or where it lay.

    Raises InputError where it is not there, or is another now.
    """
    if past.is_of_photos:
        return _open_photos(past, given[0] if given else None)
    for each in map(Path, given):
        if _files_at(each) and _was_made_of(past, each):
            return _open_clip(past, each)
    if given:
        raise InputError(f"{past.path} was not made of {', '.join(given)}, but of {past.input}")
    path = past.input_path
    if path is None or not _files_at(path):
        raise InputError(f"{past.path} was made of {past.input}, which is not there; say with --input where it is")
    if not _was_made_of(past, path):
        raise InputError(f"{past.path} was made of another {past.input}; say with --input where that is")
    return _open_clip(past, path)


def render(
    past: PastRun,
    source: Source,
    outputs: Outputs,
    root: Path,
    *,
    only: str | None = None,
    colours: Colours | None = None,
    overwrite: bool = False,
    changes: Mapping[str, Any] | None = None,
    on_skip: Callable[[Skipped], None],
    on_damage: Callable[[Damaged], None],
    warn: Callable[[str], None],
    note: Callable[[str], None],
) -> Run:
    """A run that writes `outputs` below `root`, from the class maps of an earlier run; still to be executed.

    `only` names classes as `--classes` does, None: those of the earlier run; `colours` are instead of the usual ones.
    `changes` stand in the record. Raises InputError where no class maps are left, UsageError for unknown classes.
    """
    if outputs.matte != settings.MATTE and outputs.edge == "soft":
        raise UsageError("class maps hold no probabilities, which soft edges are made of; --edge refined or hard")
    if past.within(CHUNK):
        raise InputError(
            f"{past.path}: a chunk of a video; `results join {past.root}` makes its results of all of them"
        )
    open_store, classes = past.open_store()
    only = only if only is not None else _text(past.settings.get("classes"))
    if only:
        outputs = replace(outputs, only=classes.ids(only.split(",")))
    model = past.model(classes.recoloured(colours or {}))
    if (PEOPLE in outputs.save or outputs.color_by == "person") and not past.has_person_maps:
        raise InputError(f"{past.path}: the run kept no maps of people (--save {PEOPLE}): none to write or to paint")
    facts = past.open_facts(source.info)
    engine = StoredOnly(open_store(source.info), model, past.precision, facts.add)
    sinks = outputs.sinks(root, past.stem, source.info, model.classes, warn)
    run = Run(
        source if past.is_of_photos else Renamed(source, past.stem),
        engine,
        sinks,
        record_path=fitting(root, past.stem, settings.RUN_FILE),
        overwrite=overwrite,
        settings={**past.settings, "save": ",".join(sorted(outputs.save)), **(changes or {}), "rendered": True},
        on_skip=on_skip,
        on_damage=on_damage,
        strict=past.settings.get("strict") is True,
        note=note,
    )
    engine.on_missing = partial(_tell_missing, past, run, source.info)
    return run


class Renamed(Source):
    """A video under the name that its results have."""

    def __init__(self, source: Source, stem: str) -> None:
        self.info = source.info
        self._source = source
        self._stem = stem

    def frames(self) -> Iterator[Frame | Skipped]:
        for each in self._source.frames():
            yield replace(each, name=settings.frame_name(self._stem, each.index)) if isinstance(each, Frame) else each

    @property
    def first_name(self) -> str | None:
        return settings.frame_name(self._stem, 0)

    def close(self) -> None:
        self._source.close()


def _tell_missing(past: PastRun, run: Run, source: SourceInfo, frame: Frame) -> bool:
    if past.is_of_photos:
        run.skip(Skipped(frame.name, f"{past.root} holds no class map of it"))
    else:
        run.skip(Skipped(past.input, f"{past.root} holds {rest_missing(frame, source, past)}"))
    return past.is_of_photos


def _was_made_of(past: PastRun, path: Path) -> bool:
    fingerprint = past.within("fingerprint", "input")
    if "sample" not in fingerprint:  # it came from an address or a pipe
        return True
    found = content_of(_files_at(path), path)
    return all(found[each] == fingerprint.get(each) for each in ("bytes", "sample"))


def _files_at(path: Path) -> list[Path]:
    """What a clip is read from: a file, or numbered pictures; empty where nothing is there."""
    if (pattern := parse_pattern(path)) is not None:
        with suppress(InputError):
            return list(pattern.files().values())
    return [path] if path.is_file() else []


def _open_clip(past: PastRun, path: Path) -> Source:
    most, rate = past.settings.get("max_pixels"), _text(past.settings.get("fps"))
    try:
        return open_clip(
            path,
            rate=parse_rate(rate) if rate is not None else None,
            max_pixels=most if isinstance(most, int) and most > 0 else settings.MAX_PIXELS,
        )
    except UsageError as error:
        raise InputError(f"{past.path}: {error}") from None


def _open_photos(past: PastRun, given: str | None) -> Source:
    choices = {name: past.settings[name] for name in _PHOTO_SETTINGS if name in past.settings}
    share = partial(_lists, past) if settings.is_of_shard(past.stem) else None
    try:
        return Photos(given or str(past.input_path), exclude=past.root, share=share, **choices)
    except (UsageError, TypeError) as error:
        raise InputError(f"{past.path}: {error}") from None


def _lists(past: PastRun, photo: str) -> bool:
    return f"{photo}{settings.CLASS_MAP_FILE}" in past.files


def alike(value: Any, default: Any) -> bool:
    """Whether what stands in a record is of an option's kind, by its default."""
    return isinstance(value, type(default)) or (default is None and isinstance(value, int))


def _text(value: Any) -> str | None:
    return cast("str | None", value) if isinstance(value, str) else None
