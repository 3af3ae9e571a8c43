"""Numbered pictures by one name, as renderers and compositors write them: "shot.%04d.exr", "shot.####.exr"."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sapiens_stream.errors import InputError, cause
from sapiens_stream.settings import MOST_FRAMES
from sapiens_stream.sources.kinds import is_photo

_PLACE = re.compile(r"%(?:0(\d\d?))?d|(#+)")
_MOST_DIGITS = 18
_BETWEEN = " ._-"  # what stands between a name and a number


@dataclass(frozen=True)
class Pattern:
    """Pictures in `folder` whose names are `before`, a number of at least so many `digits`, and `after`.

    `name` is how the user has it.
    """

    name: str
    folder: Path
    before: str
    digits: int
    after: str

    @property
    def stem(self) -> str:
        """What their results are called: the name without number and ending; the folder's where nothing is left."""
        rest = self.before.rstrip(_BETWEEN) + Path(f"_{self.after}").stem[1:]
        return rest.strip(_BETWEEN) or Path(os.path.realpath(self.folder)).name or "pictures"

    @property
    def glob(self) -> str:
        """A glob that takes them in, as photos."""
        return str(self.folder / f"{self.before}*{self.after}")

    def path(self, number: int) -> Path:
        """Where the picture of a number is, or would be."""
        return self.folder / f"{self.before}{number:0{self.digits}d}{self.after}"

    def files(self) -> dict[int, Path]:
        """Those that are there, by number, in order. Raises InputError where there are none, or far too many."""
        try:
            names = os.listdir(self.folder)  # noqa: PTH208  # of names alone, which may be very many
        except OSError as error:
            raise InputError(f"{self.name}: {self.folder}: {cause(error)}") from None
        numbers = sorted(number for number in map(self._number_of, names) if number is not None)
        if not numbers:
            raise InputError(f"{self.name}: no picture is called like that, {self.path(1).name} for instance")
        if len(numbers) > MOST_FRAMES:
            raise InputError(f"{self.name}: {len(numbers)} pictures; a clip has up to {MOST_FRAMES}")
        return {number: self.path(number) for number in numbers}

    def problem(self) -> str | None:
        """Why there are none, in words; None where there are some."""
        try:
            self.files()
        except InputError as error:
            return str(error)
        return None

    def holds(self, path: Path) -> bool:
        """Whether a picture is one of them, by its path."""
        return path.parent == self.folder and self._number_of(path.name) is not None

    def _number_of(self, name: str) -> int | None:
        digits = name.removeprefix(self.before).removesuffix(self.after)
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS):
            return None
        number = int(digits)
        return number if name == self.path(number).name else None


def parse_pattern(what: str | Path) -> Pattern | None:
    """Understands a name that stands for numbered pictures: one place for a number, and a photo's ending.

    >>> parse_pattern("plates/shot.%04d.exr").path(1001)
    PosixPath('plates/shot.1001.exr')

    None for any other name, and where a file of exactly that name is there.
    """
    path = Path(what)
    places = list(_PLACE.finditer(path.name))
    if "://" in str(what) or len(places) != 1 or not is_photo(path) or os.path.lexists(path):
        return None
    [place] = places
    digits = len(place[2]) if place[2] else int(place[1] or 1)
    if digits > _MOST_DIGITS:
        return None
    return Pattern(str(what), path.parent, path.name[: place.start()], max(1, digits), path.name[place.end() :])


def pattern_of(paths: Sequence[str]) -> str | None:
    """The name for numbered pictures, two at least, that a shell has put in place of a glob; None for any others."""
    if len(paths) < 2 or not all(is_photo(Path(each)) for each in paths):
        return None
    return next(
        (each.name for each in _patterns_of(Path(paths[0])) if all(each.holds(Path(path)) for path in paths)), None
    )


def pattern_around(path: Path) -> str | None:
    """The name for a numbered picture and its neighbours; None for one that has none."""
    for pattern in _patterns_of(path):
        with suppress(InputError):
            if len(pattern.files()) > 1:
                return pattern.name
    return None


def _patterns_of(path: Path) -> Iterator[Pattern]:
    """What a picture may be one of: each number in its name may be the one that counts."""
    for place in re.finditer(r"\d+", path.name):
        padded = f"%0{len(place[0])}d" if len(place[0]) > 1 else "%d"
        for mark in dict.fromkeys((padded, "%d")):
            pattern = parse_pattern(path.with_name(path.name[: place.start()] + mark + path.name[place.end() :]))
            if pattern is not None:
                yield pattern
