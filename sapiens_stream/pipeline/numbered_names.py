"""Names of frames, kept small however many they are: those that count up are kept as ranges."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import PurePosixPath

_NUMBERED = re.compile(r"(.*?)(\d{1,18})\Z", re.DOTALL)


def in_order(name: str) -> tuple[bool, str, int, int]:
    """By what names are sorted: those that count up come first."""
    numbered = _NUMBERED.match(name)
    return (False, numbered[1], len(numbered[2]), int(numbered[2])) if numbered else (True, name, 0, 0)


class NumberedNames:
    """A set of names ("clip/000012", "beach"), "/" between folders. In order, those that count up come first."""

    def __init__(self) -> None:
        self.others: set[str] = set()
        """Those without a number at their end."""
        self._ranges: dict[tuple[str, int], list[list[int]]] = {}

    def add(self, name: str, last: str | int | None = None) -> None:
        """Adds a name, or all that count up from it to the number, or to that at the end of the name, `last`."""
        numbered = _NUMBERED.match(name)
        if isinstance(last, str):
            end = _NUMBERED.match(last)
            last = int(end[2]) if end else None
        if numbered is None:
            self.others.add(name)
        else:
            first = int(numbered[2])
            ranges = self._ranges.setdefault((numbered[1], len(numbered[2])), [])
            _insert(ranges, first, max(first, first if last is None else last))

    def update(self, other: NumberedNames) -> None:
        """Adds all of another."""
        self.others |= other.others
        for key, ranges in other._ranges.items():
            for first, last in ranges:
                _insert(self._ranges.setdefault(key, []), first, last)

    def __bool__(self) -> bool:
        return bool(self.others or self._ranges)

    def __contains__(self, name: str) -> bool:
        return name in self.others or self.counts(name)

    def __iter__(self) -> Iterator[str]:
        for (prefix, width), ranges in sorted(self._ranges.items()):
            for first, last in ranges:
                for number in range(first, last + 1):
                    yield f"{prefix}{number:0{width}d}"
        yield from sorted(self.others)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.others) + sum(last - first + 1 for ranges in self._ranges.values() for first, last in ranges)

    def after(self, prefix: str) -> Iterator[int]:
        """The numbers behind a prefix, in order: more than anybody can count, where somebody claims them."""
        for (each, _), ranges in sorted(self._ranges.items()):
            if each == prefix:
                for first, last in ranges:
                    yield from range(first, last + 1)

    def __and__(self, other: NumberedNames) -> NumberedNames:
        both = NumberedNames()
        both.others = self.others & other.others
        for key, ranges in self._ranges.items():
            for first, last in ranges:
                theirs = other._ranges.get(key, [])
                for begin, end in theirs[max(0, bisect_right(theirs, [first]) - 1) :]:
                    if begin > last:
                        break
                    if end >= first:
                        _insert(both._ranges.setdefault(key, []), max(begin, first), min(end, last))
        return both

    def counts(self, name: str) -> bool:
        """Whether it is one of those that count up."""
        numbered = _NUMBERED.match(name)
        ranges = self._ranges.get((numbered[1], len(numbered[2])), []) if numbered else []
        place = bisect_right(ranges, [int(numbered[2]), 1 << 62]) - 1 if numbered else -1
        return place >= 0 and numbered is not None and int(numbered[2]) <= ranges[place][1]

    def casefolded(self) -> NumberedNames:
        """The same without regard to case."""
        folded = NumberedNames()
        folded.others = {name.casefold() for name in self.others}
        for (prefix, width), ranges in self._ranges.items():
            for first, last in ranges:
                _insert(folded._ranges.setdefault((prefix.casefold(), width), []), first, last)
        return folded

    @property
    def first_counted(self) -> str | None:
        """The first of those that count up; None where there are none."""
        for (prefix, width), ranges in self._ranges.items():
            return f"{prefix}{ranges[0][0]:0{width}d}"
        return None

    @property
    def folders(self) -> set[PurePosixPath]:
        """Where those that count up lie."""
        return {PurePosixPath(prefix + "0").parent for prefix, _ in self._ranges}

    def as_list(self) -> list[str | list[str]]:
        """As JSON types: a name, or [first, last] of those that count up."""
        ranges: list[str | list[str]] = [
            f"{prefix}{first:0{width}d}"
            if first == last
            else [f"{prefix}{first:0{width}d}", f"{prefix}{last:0{width}d}"]
            for (prefix, width), all_of_it in sorted(self._ranges.items())
            for first, last in all_of_it
        ]
        return [*sorted(self.others), *ranges]


def _insert(ranges: list[list[int]], first: int, last: int) -> None:
    """Adds first..last to sorted ranges that neither touch nor overlap."""
    begin = bisect_right(ranges, [first, 1 << 62])
    if begin and ranges[begin - 1][1] >= first - 1:
        begin -= 1
        first, last = ranges[begin][0], max(last, ranges[begin][1])
    end = begin
    while end < len(ranges) and ranges[end][0] <= last + 1:
        last = max(last, ranges[end][1])
        end += 1
    ranges[begin:end] = [[first, last]]
