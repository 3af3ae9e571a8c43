"""What the commands on written results share: the clip's source, and how far its frames are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_stream.errors import InputError, SapiensStreamError, cause

if TYPE_CHECKING:
    from sapiens_stream.cli.display import Display
    from sapiens_stream.results.stored import StoredClip
    from sapiens_stream.sources import Source


@contextmanager
def source_of(
    clip: StoredClip,
    given: list[str],
    *,
    wanted: bool,
    warn: Callable[[SapiensStreamError], None] | None = None,
) -> Iterator[Source | None]:
    """The source of a clip, where it is `wanted`, or where photos can be told the names of.

    One that is not there is told to `warn`; without that it raises InputError.
    """
    from sapiens_stream.results.render import open_source_of
    from sapiens_stream.sources.clip import open_clip

    opened: Source | None = None
    try:
        if clip.past is None and wanted:
            if not given:
                raise InputError(f"{clip.path}: say with --input what it was made of")
            opened = open_clip(Path(given[0]))
        elif clip.past is not None and (wanted or clip.is_of_photos):
            opened = open_source_of(clip.past, given)
    except InputError as problem:
        if wanted and (warn is None or given):
            raise
        if wanted and warn is not None:
            warn(problem)
    with opened if opened is not None else nullcontext() as source:
        yield source


@contextmanager
def counting(display: Display, clip: StoredClip) -> Iterator[Callable[[int], None]]:
    """Shows how many frames are done."""
    from sapiens_stream.pipeline import Statistics

    statistics = Statistics()
    with display.progress(str(clip.path), clip.count) as shown:

        def tell(done: int) -> None:
            statistics.segmented = done
            shown.update(statistics)

        yield tell


def naming(clip: StoredClip, problem: SapiensStreamError) -> str:
    """A problem in a line that names the clip."""
    what = cause(problem)
    return what if str(clip.path) in what else f"{clip.path}: {what}"
