"""Which videos a list names, and where below the output folder the results of each go."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sapiens_stream.errors import InputError
from sapiens_stream.frame import Skipped
from sapiens_stream.sources.listing import list_lines
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.sources.video_input import printable

_UNFIT = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
_LONGEST = 80  # bytes of a folder's name, or a stem: endings come to it


@dataclass(frozen=True)
class Entry:
    """A video, by its path or address, and what its results are called: `folder` is below the output, "" for itself.

    `input` may hold a password or a signature, `shown` holds none.
    """

    input: str
    folder: str
    stem: str

    @property
    def shown(self) -> str:
        """The input, for people and records."""
        return printable(self.input)

    @property
    def name(self) -> str:
        """Of the results, "/" between folders."""
        return f"{self.folder}/{self.stem}" if self.folder else self.stem


def read_list(path: Path) -> list[str]:
    """A path or an address a line, but for empty lines and those that begin with "#".

    Relative paths are sought from the list's folder, then from the working directory. Raises InputError.
    """
    lines = list_lines(path)
    found = [_sought(line, path.parent) for line in lines if not line.startswith("#")]
    if not found or any("\0" in line for line in lines):
        raise InputError(f"{path}: it names no videos; a list holds the path or address of one a line")
    return found


def entries_of(inputs: Sequence[str]) -> tuple[list[Entry], list[Skipped]]:
    """The inputs with the names of their results, by where they lie below the folder that all have in common.

    No name leads out of the output folder, whatever an object's key or a list's line holds. Those whose results would
    overwrite another's are the others.
    """
    ways = [_way(each) for each in inputs]
    common = 0
    while all(len(way) > common + 1 for way in ways) and len({way[common] for way in ways}) == 1:
        common += 1
    entries: dict[str, Entry] = {}
    skipped = []
    for each, way in zip(inputs, ways, strict=True):
        folder = "/".join(_fit(part) for part in way[common:-1])
        entry = Entry(each, folder, _fit(_stem(each, way[-1])))
        first = entries.setdefault(entry.name.casefold(), entry)
        if first is not entry:
            same = "it is listed already" if first.input == each else f"its results would overwrite {first.shown}'s"
            skipped.append(Skipped(printable(each), same))
    return list(entries.values()), skipped


def is_remote(what: str) -> bool:
    """Whether it is an address."""
    return "://" in what


def _sought(line: str, folder: Path) -> str:
    if is_remote(line):
        return line
    beside = os.path.abspath(folder / line)  # noqa: PTH100  # which does away with ".."
    there = os.path.lexists(beside) or (parse_pattern(beside) is not None and Path(beside).parent.is_dir())
    return beside if there else os.path.abspath(line)  # noqa: PTH100


def _way(what: str) -> list[str]:
    """From the root to the file; of an address its path alone tells, without a query."""
    if not is_remote(what):
        return list(Path(what).parts)
    parts = urlsplit(what)
    path = unquote(parts.path) if parts.scheme in ("http", "https") else what.partition("://")[2].partition("/")[2]
    return [f"{parts.scheme}:", parts.hostname or "", *path.strip("/").split("/")]


def _stem(what: str, name: str) -> str:
    if (pattern := parse_pattern(what)) is not None:
        return pattern.stem
    return Path(name).stem if name.strip(".") else name


def _fit(part: str) -> str:
    """A name for a folder or a file that stays where it is put; what had to be changed is told apart by a hash."""
    fit = _UNFIT.sub("_", part).strip(". ") or "_"
    whole = fit == part
    while len(os.fsencode(fit)) > _LONGEST:
        fit, whole = fit[:-1], False
    return fit if whole else f"{fit}~{hashlib.sha256(os.fsencode(part)).hexdigest()[:8]}"
