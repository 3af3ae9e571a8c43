"""Which files a run wrote: kept small however many they are, written into its record, and found again from there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from sapiens_stream.errors import cause
from sapiens_stream.pipeline.numbered_names import NumberedNames, in_order
from sapiens_stream.settings import MOST_FRAMES
from sapiens_stream.sinks.files import aside
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sources.source import Source


class FileList:
    """Files below a folder, by their paths from there, "/" between folders.

    Those of frames are a name and one of a few endings ("clip/000012" and "_seg.npy"); names that count up are kept as
    ranges, so that hours of video take a few bytes. Single files (an overlay video) are kept as they are. Of each
    ending the number of files and their bytes are known.
    """

    def __init__(self) -> None:
        self._names = NumberedNames()
        self._endings: dict[str, list[int]] = {}
        self._single: dict[str, int] = {}

    def add(self, name: str, sizes: Iterable[tuple[str, int]]) -> None:
        """Adds a frame's files, each an ending and its size in bytes."""
        self.claim(name)
        for ending, size in sizes:
            total = self._endings.setdefault(ending, [0, 0])
            total[0] += 1
            total[1] += size

    def claim(self, name: str, last: int | None = None, endings: Iterable[str] = ()) -> None:
        """Adds a name without files yet, or all that count up from it to the number `last`."""
        for ending in endings:
            self._endings.setdefault(ending, [0, 0])
        self._names.add(name, last)

    def add_single(self, path: str, size: int = 0) -> None:
        """Adds a file that is no frame's."""
        self._single[path] = size

    def update(self, other: FileList) -> None:
        """Adds all that `other` lists, without its counts."""
        self._names.update(other._names)
        for ending in other._endings:
            self._endings.setdefault(ending, [0, 0])
        for path in other._single:
            self._single.setdefault(path, 0)

    def __bool__(self) -> bool:
        return bool(self._single or self._names)

    def __contains__(self, path: str) -> bool:
        return path in self._single or any(
            path.endswith(ending) and path.removesuffix(ending) in self._names for ending in self._endings
        )

    def casefolded(self) -> FileList:
        """The same as a file system reads them that takes no notice of case."""
        folded = FileList()
        folded._names = self._names.casefolded()
        folded._endings = {ending.casefold(): [0, 0] for ending in self._endings}
        folded._single = {path.casefold(): 0 for path in self._single}
        return folded

    def common(self, other: FileList) -> str | None:
        """A file that both list; None if there is none."""
        for one, two in ((self, other), (other, self)):
            for path in one._single:
                if path in two:
                    return path
            for name in one._names.others:
                for ending in one._endings:
                    if name + ending in two:
                        return name + ending
        if (common := (self._names & other._names).first_counted) is not None:
            for ending in self._endings:
                if ending in other._endings:
                    return common + ending
        return None

    def among(self, other: FileList) -> FileList:
        """What of it the other lists too, without counts."""
        both = FileList()
        both._names = self._names & other._names
        both._endings = {ending: [0, 0] for ending in self._endings}
        both._single = {path: 0 for path in self._single if path in other}
        return both

    def existing(self, root: Path, *, strict: bool = False) -> Iterator[str]:
        """Those that are there, and what a killed run left aside of them; links are neither followed nor left out.

        Of a folder that cannot be listed none; where it is `strict` that raises OSError.
        """
        for folder in self._names.folders:
            yield from self._numbered_in(root, folder, strict)
        for path in [*self._single, *(name + ending for name in self._names.others for ending in self._endings)]:
            if _within(root, PurePosixPath(path).parent):
                for each in (path, PurePosixPath(path).parent.joinpath(aside(Path(path)).name).as_posix()):
                    if os.path.lexists(root / each):
                        yield each

    def names_there(self, root: Path, ending: str) -> Iterable[str]:
        """Those of frames whose file of an ending is there, in order; looked for one at a time as they are asked for.

        Of more than a clip can have, as a forged list claims, what lies in the folders is looked at instead, at once.
        """
        if self._names.count <= MOST_FRAMES:
            return (name for name in self._names if os.path.lexists(root / (name + ending)))
        found = {path.removesuffix(ending) for path in self.existing(root) if path.endswith(ending)}
        return sorted((name for name in found if name in self._names), key=in_order)

    def numbers_in(self, folder: str) -> Iterator[int]:
        """The numbers of frames whose names are numbers in a folder, in order, whether their files are there or not."""
        return self._names.after(f"{folder}/")

    def problem(self, root: Path) -> str | None:
        """What is missing, not as long as it was written, or cannot be told; None if all is there."""
        for path, size in self._single.items():
            found = _size(root / path)
            if found is None:
                return f"{path} is missing"
            if found != size:
                return f"{path} has {found} bytes of {size}"
        found_of = {ending: [0, 0] for ending in self._endings}
        longest_first = sorted(self._endings, key=len, reverse=True)
        try:
            for path in self.existing(root, strict=True):
                ending = next((each for each in longest_first if path.endswith(each)), None)
                if ending is None or path in self._single or path.removesuffix(ending) not in self._names:
                    continue
                found_of[ending][0] += 1
                found_of[ending][1] += _size(root / path) or 0
        except OSError as error:
            return f"{error.filename} can't be listed: {cause(error)}"
        for ending, (count, size) in self._endings.items():
            there, bytes_there = found_of[ending]
            if there < count:
                return f"{count - there} of {count} files *{ending} are missing"
            if there == count and bytes_there != size:
                return f"the {count} files *{ending} have {bytes_there} bytes of {size}"
        return None

    def remove_from(self, root: Path, *, but: FileList | None = None) -> None:
        """Removes the files that are there and not in `but`, and folders that are empty then; never through a link."""
        folders: set[PurePosixPath] = set()
        for path in list(self.existing(root)):
            if but is None or path not in but:
                try:
                    (root / path).unlink()
                except OSError:
                    continue
                folders.update(PurePosixPath(path).parents)
        for folder in sorted(folders - {PurePosixPath(".")}, key=lambda each: -len(each.parts)):
            with suppress(OSError):  # somebody else's files are in it
                (root / folder).rmdir()

    def as_dict(self) -> dict[str, Any]:
        """As JSON types: a name, or [first, last] of those that count up, each with every ending."""
        return {
            "names": self._names.as_list(),
            "endings": {
                ending: {"count": count, "bytes": size} for ending, (count, size) in sorted(self._endings.items())
            },
            "single": dict(sorted(self._single.items())),
        }

    @classmethod
    def from_dict(cls, record: Any, *, counted: bool = False) -> FileList:
        """From `as_dict`, which anybody may have edited: what is not of its form is left out.

        With `counted` the numbers and sizes too, which are right once the run has ended.
        """
        files = cls()
        if not isinstance(record, dict):
            return files
        endings, single, names = (record.get(key) for key in ("endings", "single", "names"))
        endings, single = (each if isinstance(each, dict) else {} for each in (endings, single))
        for ending in endings:
            if ending and "/" not in ending and "\\" not in ending and _is_name(ending):
                files._endings[ending] = _counts(endings[ending]) if counted else [0, 0]
        for path in filter(_stays_below, single):
            size = single[path]
            files._single[path] = size if counted and isinstance(size, int) else 0
        for each in names if isinstance(names, list) else ():
            first, last = each if isinstance(each, list) and len(each) == 2 else (each, each)
            if isinstance(first, str) and isinstance(last, str) and _stays_below(first):
                files._names.add(first, last)
        return files

    @property
    def single(self) -> list[str]:
        """The files that are no frame's."""
        return list(self._single)

    @property
    def first_name(self) -> str | None:
        """The first of the names that count up; None where there are none."""
        return self._names.first_counted

    @property
    def endings(self) -> list[str]:
        """What the files of frames end in."""
        return list(self._endings)

    @property
    def size(self) -> int:
        """The bytes of all that was added."""
        return sum(size for _, size in self._endings.values()) + sum(self._single.values())

    def bytes_in(self, root: Path) -> int:
        """What the files take that are there now."""
        return sum(_size(root / path) or 0 for path in self.existing(root))

    def _numbered_in(self, root: Path, folder: PurePosixPath, strict: bool) -> Iterator[str]:
        if not _within(root, folder):
            return
        try:
            entries = [entry.name for entry in os.scandir(root / folder) if not entry.is_dir(follow_symlinks=False)]
        except OSError:
            if strict:
                raise
            return
        for entry in entries:
            whole = entry
            if entry.startswith(".") and ".part." in entry:
                before, _, extension = entry[1:].rpartition(".part.")
                whole = f"{before}.{extension}"
            path = whole if folder == PurePosixPath(".") else f"{folder}/{whole}"
            for ending in self._endings:
                name = path.removesuffix(ending)
                if name != path and self._names.counts(name):
                    yield path if whole == entry else (folder / entry).as_posix()
                    break


def planned_files(source: Source, sinks: Sequence[Sink], root: Path) -> FileList:
    """The files that a run will write below `root`, as far as the source tells before it is read."""
    files = FileList()
    endings = [ending for sink in sinks for ending in sink.endings]
    for name in source.names:
        files.claim(name, endings=endings)
    if source.first_name is not None and endings:
        # A header may count a few frames too few; without one there is no telling.
        count = source.info.frame_count
        last = min(count * 2 + 1000, MOST_FRAMES - 1) if count else MOST_FRAMES - 1
        files.claim(source.first_name, last, endings)
        for numbered in (sink.numbered for sink in sinks if sink.numbered is not None):
            first = numbered.first_of(source.info)
            files.claim(numbered.name(source.first_name, 0, first), first + last + _gaps(source), [numbered.ending])
    for path in (path for sink in sinks for path in sink.planned):
        if path.is_relative_to(root):
            files.add_single(path.relative_to(root).as_posix())
    return files


def _gaps(source: Source) -> int:
    """How many numbers are missing between those of numbered pictures."""
    numbers, count = source.info.numbers, source.info.frame_count
    return 0 if numbers is None or count is None else numbers[1] + 1 - numbers[0] - count


def _counts(recorded: Any) -> list[int]:
    """Number and bytes of the files of an ending."""
    count, size = (recorded.get(key) for key in ("count", "bytes")) if isinstance(recorded, dict) else (0, 0)
    return [count, size] if isinstance(count, int) and isinstance(size, int) else [0, 0]


def _stays_below(path: str) -> bool:
    found = PurePath(path)
    return bool(found.name) and _is_name(path) and not (found.is_absolute() or found.drive or ".." in found.parts)


def _is_name(text: str) -> bool:
    """Whether a file system takes it, as far as characters go."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half a character that stands for no byte
        return False


def _within(root: Path, folder: PurePosixPath) -> bool:
    """Whether a folder below `root` is there without a link on the way."""
    at = root
    for part in folder.parts:
        at = at / part
        if at.is_symlink() or not at.is_dir():
            return False
    return True


def _size(path: Path) -> int | None:
    try:
        return os.lstat(path).st_size
    except OSError:
        return None
