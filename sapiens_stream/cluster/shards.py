"""A share of the inputs for each of several processes, which all come to the same split without a word."""

from __future__ import annotations

import hashlib
import heapq
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from sapiens_stream.errors import UsageError
from sapiens_stream.settings import shard_label

MOST_SHARDS = 1_000_000

_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})", re.ASCII)
_RIGHT = "it is I/N, the share I of N: 0/8, 1/8, ... 7/8"


@dataclass(frozen=True)
class Shard:
    """Share `number`, from 0, of `count`."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"shard {self.number} of {self.count}"

    @property
    def label(self) -> str:
        """For the names of files."""
        return shard_label(self.number, self.count)

    def holds(self, name: str) -> bool:
        """Whether an input is in this share, by its name alone: whatever else there is, and comes to it later."""
        return int.from_bytes(_digest(name)[:8]) % self.count == self.number

    def of(self, weights: Mapping[str, int]) -> set[str]:
        """The names in this share where each has a weight: the heaviest first, each to the share that has least.

        What the shares are depends on neither the order of the names nor the machine, but on all of them.
        """
        order = sorted(weights, key=lambda name: (-weights[name], _digest(name), name))
        shares = [(0, number) for number in range(self.count)]
        mine = set()
        for name in order:
            filled, number = shares[0]
            heapq.heapreplace(shares, (filled + max(1, weights[name]), number))
            if number == self.number:
                mine.add(name)
        return mine


def parse_shard(text: str, environ: Mapping[str, str], *, option: str = "--shard") -> Shard:
    """Understands "3/8".

    Shares are counted from 0 or from 1: the last, 8/8, is the one that is 0/8 in the other count, so that either has
    each share once. In a Slurm array I may be any task's id, of a step too, as long as its ids are evenly spaced.
    Raises UsageError for what is no share.

    >>> parse_shard("8/8", {})
    Shard(number=0, count=8)
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        unset = "; an array's variables are set in its tasks alone" if not re.search(r"\d/\d", text) else ""
        raise UsageError(f"{option} {text!r}: {_RIGHT}{unset}")
    number, count = int(match[1]), int(match[2])
    if not 1 <= count <= MOST_SHARDS:
        raise UsageError(f"{option} {text}: there are 1 to {MOST_SHARDS} shares; {_RIGHT}")
    task = _SlurmTask.of(environ)
    if task is not None and (task.id, task.count) == (number, count):
        return Shard(task.place(text) % count, count)
    if number > count:
        raise UsageError(f"{option} {text}: I is 0 to {count - 1}, or 1 to {count}")
    return Shard(number % count, count)


@dataclass(frozen=True)
class _SlurmTask:
    """One of an array: `sbatch --array=FIRST-LAST:STEP`."""

    id: int
    count: int
    first: int
    last: int
    step: int

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> _SlurmTask | None:
        """The one that this process is; None outside an array."""
        names = ("ID", "COUNT", "MIN", "MAX", "STEP")
        values = [environ.get(f"SLURM_ARRAY_TASK_{name}", "1" if name == "STEP" else "") for name in names]
        return cls(*map(int, values)) if all(value.isascii() and value.isdigit() for value in values) else None

    def place(self, text: str) -> int:
        """A number that no other task of the array has, modulo their count."""
        step = max(1, self.step)
        if self.last - self.first != (self.count - 1) * step or (self.id - self.first) % step:
            raise UsageError(
                f"{text}: the share of task {self.id} is not known, since the ids of this array"
                f" ({self.count} from {self.first} to {self.last}) are not evenly spaced; number its tasks --array=0-"
                f"{self.count - 1}, or give N as it was in the first array"
            )
        return self.id if step == 1 else (self.id - self.first) // step


def _digest(name: str) -> bytes:
    """The same everywhere: macOS keeps accents apart from their letters, and a name need not be text."""
    return hashlib.sha256(unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")).digest()
