"""`run.jsonl`: what became of each input of a batch, a line as it ends."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sapiens_stream.errors import OutputError
from sapiens_stream.pipeline.lock import whole_file
from sapiens_stream.pipeline.run_folder import as_text
from sapiens_stream.settings import BATCH_FILE, BATCH_SCHEMA, RUN_FILE
from sapiens_stream.sinks.files import fitting, is_there, written_aside

State = Literal["done", "resumed", "skipped", "failed", "interrupted"]

DAMAGED = "damaged: "
"""What the reason begins with of an input that was read in part only, and done."""

_IN_USE = (errno.EACCES, errno.EBUSY, errno.EPERM, errno.ETXTBSY)
_LARGEST = 1 << 28  # bytes; a damaged or forged one must not take all memory


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What became of an input. `index` is its place in the batch, `name` what its results are called."""

    index: int
    input: str
    name: str
    status: State
    reason: str | None = None
    frames: int = 0
    segmented: int = 0
    """Of those frames, the ones that no earlier start had written."""
    seconds: float = 0.0
    bytes: int = 0
    """What its results take."""
    record: str | None = None
    """The file, beside, of its run record."""
    ended: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def frames_per_second(self) -> float | None:
        """Of the frames segmented."""
        return round(self.segmented / self.seconds, 3) if self.segmented and self.seconds else None

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "schema": BATCH_SCHEMA,
            "index": self.index,
            "input": self.input,
            "name": self.name,
            "status": self.status,
            "reason": self.reason,
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "frames_per_second": self.frames_per_second,
            "bytes": self.bytes,
            "record": self.record,
            "ended": self.ended.isoformat(timespec="seconds"),
        }


class BatchFile:
    """Lines in a file that is never without those of before; each is there whole or not at all.

    A later line about an input counts in place of an earlier one, so that a batch may be begun again, resumed or not,
    and several may share a folder; `settle` leaves the one that counts.

    Raises OSError where the file cannot be written.
    """

    def __init__(self, folder: Path, taken: Collection[Path] = ()) -> None:
        """`taken` are results' files, which keep their names."""
        self.path = folder / BATCH_FILE
        while self.path in taken or not _is_ours(self.path):
            self.path = fitting(folder, f"{self.path.stem}{Path(RUN_FILE).stem}", self.path.suffix)
        self._begun = False
        self._told: set[str] = set()

    def append(self, ending: Ending) -> None:
        """Adds a line."""
        if not self._begun:  # later on the folder may be gone because somebody removed it
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._told.add(ending.input)
        line = as_text(ending.as_dict()).encode() + b"\n"
        with self._opened(os.O_APPEND) as file:
            if not self._begun:
                _cut_half_a_line(file)
                self._begun = True
            while line:  # in one piece, unless the disk is full
                line = line[os.write(file, line) :]

    def settle(self, whole_record: str | None = None) -> None:
        """Leaves one line an input, in the order of the batch.

        Of the inputs of `whole_record`, a run that is complete, those alone that were told of this time.
        """
        if not self._begun:
            return
        with self._opened() as file, _kept_where_open_files_stay():
            last = {line["input"]: line for line in _lines(_content(file))}
            kept = [
                line
                for name, line in last.items()
                if whole_record is None or line.get("record") != whole_record or name in self._told
            ]
            ordered = sorted(kept, key=_index)
            with written_aside(self.path) as whole:
                whole.writelines(as_text(line).encode() + b"\n" for line in ordered)

    @contextmanager
    def _opened(self, flags: int = 0) -> Iterator[int]:
        create = 0 if self._begun else os.O_CREAT
        flags |= os.O_RDWR | create | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with whole_file(self.path, flags) as descriptor:
            yield descriptor


@contextmanager
def _kept_where_open_files_stay() -> Iterator[None]:
    """Some systems and disks replace no open file (Windows, SMB): there all lines stay, and the last ones count."""
    try:
        yield
    except OutputError as error:
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in _IN_USE):
            raise


def read_batch(path: Path) -> list[dict[str, Any]]:
    """The line that counts of each input; of a file that is none, or gone, nothing."""
    try:
        if not is_there(path) or path.stat().st_size > _LARGEST:
            return []
        last = {line.get("input"): line for line in _lines(path.read_bytes())}
    except OSError:
        return []
    return sorted(last.values(), key=_index)


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    for text in content.splitlines():
        with suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict) and line.get("schema") == BATCH_SCHEMA and isinstance(line.get("input"), str):
                yield line


def _index(line: Mapping[str, Any]) -> int:
    index = line.get("index")
    return index if isinstance(index, int) else 0


def _is_ours(path: Path) -> bool:
    """Whether it is not there, or begins as we write it."""
    if not os.path.lexists(path):
        return True
    if not is_there(path):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(len(BATCH_SCHEMA) + 20)
    except OSError:
        return False
    return not head or head.startswith(f'{{"schema":"{BATCH_SCHEMA}"'.encode())


def _content(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(os.dup(file), "rb") as whole:
        return whole.read(_LARGEST)


def _cut_half_a_line(file: int) -> None:
    """What a power cut or a full disk has left of one."""
    content = _content(file)
    os.ftruncate(file, content.rfind(b"\n") + 1)
