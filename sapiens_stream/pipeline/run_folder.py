"""The folder of a run: whose it is, what lies in it, and the record that says so."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from itertools import chain
from pathlib import Path, PurePath
from threading import Lock as ThreadLock
from typing import Any

from sapiens_stream.errors import FolderBusy, FolderLost, FolderTaken, OutputError, cause
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.pipeline.fingerprint import Fingerprint
from sapiens_stream.pipeline.known_files import KNOWN, read_record
from sapiens_stream.pipeline.lock import Busy, Lock
from sapiens_stream.settings import RUN_FILE
from sapiens_stream.sinks.files import create, discard, fitting, give_name, not_written, written_aside
from sapiens_stream.text import encodable

_RESERVE = 16 << 10


class RunFolder:
    """Keeps a run's files apart from those of all others, and knows which they are.

    `record_path` names the run: its record lies there, or, where a result of its own is called so, under the same name
    with "_run" once more. `planned` are the files that the run will write, as far as that is known before. Where the
    folder is `shared`, others write the rest of the same run, each with a record of its own: what they have left of
    our share is ours, and all else stays.

    `claim` comes first; then the sinks report to `wrote`, whoever has a result's files all written calls `settle`, and
    `save` keeps the record. `problem` says at the end what is not there. `release` comes last.
    """

    def __init__(
        self, record_path: Path, planned: FileList, *, spare: Path | None = None, shared: bool = False
    ) -> None:
        self.root = record_path.parent
        self._candidates = [_apart(each, planned) for each in (record_path, spare) if each is not None]
        self.record_path = self._candidates[0]
        self._planned = planned
        self._shared = shared
        self._before = FileList()
        self._now = FileList()
        self._unsettled: dict[str, list[tuple[str, str, int]]] = {}
        self._changing = ThreadLock()
        self._lock: Lock | None = None
        self._reserve: Path | None = None
        self._made: list[Path] = []
        self.previous: Mapping[str, Any] | None = None
        """What the same run's record said before, once claimed; None where there was none."""

    def claim(
        self, fingerprint: Fingerprint, *, overwrite: bool = False, resume: bool = False, keep: Path | None = None
    ) -> None:
        """Takes the lock, and makes sure that the folder holds no other run's results.

        Those of the same run are replaced as the new ones come. With `overwrite` the other run's files are removed, but
        only those that its record lists, never through a link, and not `keep`, the input. A file that no record lists
        is somebody's own, and refused too where a result would take its place.

        Raises FolderTaken, FolderLost if the folder cannot be made, or OutputError.
        """
        try:
            self._made = [each for each in (self.root, *self.root.parents) if not each.exists()]
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderLost(f"{self.root} can't be made: {cause(error)}; choose another folder (-o)") from error
        for place, path in enumerate(self._candidates):
            self.record_path = path
            self._take_lock()
            try:
                others = self._other_runs(fingerprint, resume)
                disjoint = all(files.common(self._planned) is None for _, files, _ in others)
                if others and disjoint and place + 1 < len(self._candidates) and not overwrite:
                    self.release()
                    continue
                if not overwrite:
                    self._require_ours(others, resume)
                kept = FileList()
                if keep is not None and os.path.realpath(keep.parent) == os.path.realpath(self.root):
                    kept.add_single(keep.name)
                for record, files, _ in others:
                    files.remove_from(self.root, but=kept)
                    discard(record)
                return
            except BaseException:
                self.release()
                raise

    def _require_ours(self, others: Sequence[tuple[Path, FileList, list[str]]], resume: bool) -> None:
        """Raises FolderTaken where other runs' results, or somebody's own file, are in our way."""
        if others:
            record, _, differences = others[0]
            only = " --resume continues the same run alone," if resume else ""
            raise FolderTaken(
                f"{self.root} holds the results of another run ({record.name}: other {', '.join(differences)});"
                f"{only} --overwrite replaces them, or choose another folder (-o)"
            )
        if (strange := self._of_no_run()) is not None:
            raise FolderTaken(
                f"{self.root / strange} is there, and no run's result by any record; --overwrite replaces it,"
                " or choose another folder or name (-o)"
            )

    def _take_lock(self) -> None:
        path = lock_of(self.record_path)
        try:
            self._lock = Lock(path)
        except Busy:
            raise FolderBusy(
                f"another run is writing {self.record_path}: wait for its end, or choose another folder (-o)"
            ) from None
        except OSError as error:
            raise not_written(path, error) from error

    def _other_runs(self, fingerprint: Fingerprint, resume: bool) -> list[tuple[Path, FileList, list[str]]]:
        """The records of runs whose results are in our way: path, files, what differs. The same run's are taken in."""
        found = []
        in_our_way = {
            path
            for path, files in KNOWN.in_folder(self.root)
            if files.common(self._planned) is not None or path.name in self._planned
        }
        for path in sorted({self.record_path, *in_our_way}):
            ours = path == self.record_path
            record = read_record(path)
            if record is None:
                if ours and path.exists():
                    found.append((path, FileList(), ["kind of file"]))
                continue
            files = FileList.from_dict(record.get("files"))
            differences = fingerprint.differences(record.get("fingerprint"), in_class_maps=resume)
            if not differences:
                self._before.update(files.among(self._planned) if self._shared else files)
                if ours or (self.previous is None and fingerprint.is_of_photos):
                    self.previous = record
                if not (ours or self._shared):
                    self._before.add_single(path.name)
            elif "files" not in record or any(files.existing(self.root)):
                found.append((path, files, differences))
        return found

    def _of_no_run(self) -> str | None:
        """A file in a planned one's place that is not the same run's; other runs are looked for before.

        A folder in such a place cannot be written over, and costs no more than that result.
        """
        there = (path for path in self._planned.existing(self.root) if path in self._planned)
        strange = (path for path in there if path not in self._before)
        return next((path for path in strange if not (self.root / path).is_dir()), None)

    @property
    def before(self) -> FileList:
        """What the same run has left earlier, once claimed."""
        return self._before

    def wrote(self, name: str, ending: str, size: int, own: str) -> None:
        """Takes note of a file of a result, which goes by its `own` name; for `Sink.on_file`."""
        with self._changing:
            self._unsettled.setdefault(name, []).append((own, ending, size))

    def settle(self, name: str) -> int:
        """All files of a result are written: they are listed from now on. Returns their bytes."""
        with self._changing:
            files = self._unsettled.pop(name, [])
            self._now.claim(name)
            for own, ending, size in files:
                self._now.add(own, [(ending, size)])
        return sum(size for *_, size in files)

    def keep(self, name: str, files: Sequence[tuple[str, int]]) -> None:
        """Lists a result that was there already, whole: its files by ending and size."""
        with self._changing:
            self._now.add(name, files)

    def spoil(self, name: str) -> None:
        """A result could not be written whole: what there is of it is removed."""
        with self._changing:
            files = self._unsettled.pop(name, ())
        for own, ending, _ in files:
            discard(self.root / (own + ending))

    def finish(self, written: Sequence[Path]) -> None:
        """Takes note of the files that span the whole source, once they are closed."""
        for path in written:
            try:
                self._now.add_single(path.relative_to(self.root).as_posix(), path.stat().st_size)
            except ValueError:
                continue  # outside the folder, and so none of the files that may ever be removed
            except OSError as error:
                raise FolderLost(f"{path} is gone: {cause(error)}") from error

    def require_present(self) -> None:
        """Raises FolderLost once the folder was deleted or replaced."""
        if self._lock is not None and not self._lock.in_place:
            raise FolderLost(f"{self.root} was deleted or replaced while the run was writing to it")

    def require_complete(self) -> None:
        """Raises FolderLost unless all files that were written are there, as long as they were."""
        self.require_present()
        with self._changing:
            problem = self._now.problem(self.root)
        if problem is not None:
            raise FolderLost(f"not all that was written is in {self.root}: {problem}")

    def remove_stale(self) -> None:
        """Removes what the same run left earlier and this time did not write."""
        self._before.remove_from(self.root, but=self._now)
        self._before = FileList()

    @property
    def size(self) -> int:
        """The bytes of what is listed of this run so far."""
        with self._changing:
            return self._now.size

    def files(self, *, ended: bool) -> dict[str, Any]:
        """The list for the record. Until the run has ended, it holds what is planned too: a kill gives no warning.

        A frame whose files were not all written, as the run failed there, has left the others.
        """
        with self._changing:
            if ended and not self._before and not self._unsettled:
                return self._now.as_dict()
            listed = deepcopy(self._now)
            for own, ending, _ in chain.from_iterable(self._unsettled.values()):
                listed.claim(own, endings=[ending])
        listed.update(self._before)
        if not ended:
            listed.update(self._planned)
        return listed.as_dict()

    def save(self, record: Mapping[str, Any], *, last: bool = False) -> None:
        """Writes the record. What is set aside for it makes the `last` one fit on a full disk. Raises OutputError."""
        data = as_text(record, indent=1).encode() + b"\n"
        try:
            with written_aside(self.record_path) as file:
                file.write(data)
        except OutputError as error:
            full = isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT)
            if not (last and full and self._reserve is not None):
                raise
            self._write_into_reserve(data, record)
        if self._reserve is None and not last:
            self._set_aside(2 * len(data) + _RESERVE)

    def release(self) -> None:
        """Lets go of the folder; where it was made for this run, and nothing came into it, it goes too."""
        if self._reserve is not None:
            discard(self._reserve)
        if self._lock is not None:
            self._lock.release()
        self._lock = self._reserve = None
        with suppress(OSError):  # the first that is not empty
            for folder in self._made:
                folder.rmdir()
        self._made = []

    def _set_aside(self, size: int) -> None:
        path = fitting(self.root, f".{self.record_path.stem}", ".reserve")
        try:
            with create(path) as file:
                file.write(bytes(size))
        except OSError as error:
            discard(path)
            raise not_written(self.record_path, error) from error
        self._reserve = path

    def _write_into_reserve(self, data: bytes, record: Mapping[str, Any]) -> None:
        assert self._reserve is not None
        if len(data) > self._reserve.stat().st_size:  # it grew: what was skipped, most likely
            data = as_text({**record, "skipped": []}, indent=1).encode() + b"\n"
        try:
            with os.fdopen(os.open(self._reserve, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)), "r+b") as file:
                file.write(data)
                file.truncate()
            give_name(self._reserve, self.record_path)
        except OSError as error:
            raise not_written(self.record_path, error) from error
        self._reserve = None


def lock_of(record_path: Path) -> Path:
    """The lock that whoever writes a run holds."""
    return fitting(record_path.parent, f".{record_path.stem}", ".lock")


def as_text(record: Mapping[str, Any], *, indent: int | None = None) -> str:
    r"""A record as JSON. A byte of a name that is not UTF-8 becomes JSON's own escape, \udc80 to \udcff.

    Python's `json` reads it back as `os.fsdecode` gives names, which `os.fsencode` takes.
    """
    separators = (",", ":") if indent is None else None
    text = json.dumps(record, ensure_ascii=False, indent=indent, separators=separators)
    return encodable(text)


def _apart(record_path: Path, planned: FileList) -> Path:
    """The record's path, made to differ from that of any result, in more than case."""
    taken = planned.casefolded()
    path = fitting(record_path.parent, record_path.stem, record_path.suffix)
    while path.name.casefold() in taken:
        path = fitting(path.parent, f"{path.stem}{PurePath(RUN_FILE).stem}", path.suffix)
    return path
