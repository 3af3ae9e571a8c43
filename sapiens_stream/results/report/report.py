"""A report of written results: read through once, and once more for the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from sapiens_stream import settings
from sapiens_stream.errors import FolderTaken, InputError
from sapiens_stream.frame import Skipped
from sapiens_stream.results.report.confidence import Confidences
from sapiens_stream.results.report.findings import gather
from sapiens_stream.results.report.markup import Markup
from sapiens_stream.results.report.page import MARK, page
from sapiens_stream.results.report.pictures import collected, painted
from sapiens_stream.results.report.run_article import run_article
from sapiens_stream.results.stored import StoredClip, StoredFrame
from sapiens_stream.sinks.files import written_aside
from sapiens_stream.sources import Source

PICTURES = 8
FILE = "report.html"

_REMEMBERED = 1000  # frames that could not be read

OnFrame = Callable[[int], None]
"""Is told after each frame how many are read."""


def report_on(
    clip: StoredClip, source: Source | None, on_skip: Callable[[Skipped], None], on_frame: OnFrame = lambda done: None
) -> Markup:
    """An article on a clip; `source` gives the pictures, without it class maps stand alone.

    Raises InputError where none of its class maps can be read.
    """
    skipped: list[tuple[str, str]] = []

    def skip(item: Skipped) -> None:
        on_skip(item)
        if len(skipped) < _REMEMBERED:
            skipped.append((item.name, item.reason))

    indexes = _Indexes()
    with closing(Confidences(clip.root / f"{clip.stem}{settings.STATISTICS_CSV_FILE}")) as confidences:
        findings = gather(
            indexes.passing(told(clip.frames(skip), on_frame)),
            clip.classes,
            moving=not clip.is_of_photos,
            confidences=confidences,
        )
    if not findings.timeline.frames:
        raise InputError(f"{clip.path}: none of its class maps can be read")
    sheet = indexes.spread(PICTURES)
    moments = findings.moments.chosen(findings.timeline.frames)
    wanted = {*sheet, *(moment.index + step for moment in moments for step in (-1, 0))}
    frames = clip.pictured(source, _unheard) if source is not None else clip.frames(_unheard)
    pictures = collected(frames, wanted, painted(clip.classes))
    return run_article(clip, findings, pictures, sheet, moments, skipped)


def write_page(path: Path, title: str, articles: Iterable[Markup], *, overwrite: bool = False) -> None:
    """Writes the page, whole or not at all. Raises FolderTaken for a file that is there and no such page."""
    if path.exists() and not overwrite and not _is_page(path):
        raise FolderTaken(f"{path} is there, and no report; --overwrite replaces it, or choose another file (-o)")
    with written_aside(path) as file:
        for piece in page(title, articles):
            file.write(piece.encode("utf-8", "backslashreplace"))


def told(frames: Iterable[StoredFrame], on_frame: OnFrame) -> Iterator[StoredFrame]:
    """The same, and how many have been taken."""
    for done, frame in enumerate(frames, 1):
        yield frame
        on_frame(done)


class _Indexes:
    """Which frames there are, however many, so that some of them can be chosen evenly."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._step = 1

    def passing(self, frames: Iterable[StoredFrame]) -> Iterator[StoredFrame]:
        """Takes note of frames."""
        for place, frame in enumerate(frames):
            if place % self._step == 0:
                self._kept.append(frame.index)
                if len(self._kept) > 64 * PICTURES:
                    self._kept, self._step = self._kept[::2], self._step * 2
            yield frame

    def spread(self, count: int) -> list[int]:
        """At most so many of them, in the middle of as many parts."""
        parts = min(count, len(self._kept))
        return [self._kept[(2 * part + 1) * len(self._kept) // (2 * parts)] for part in range(parts)]


def _is_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not path.is_symlink() and MARK.encode() in file.read(1024)
    except OSError:
        return False


def _unheard(item: Skipped) -> None:
    """What was told of when the clip was read the first time."""
