"""Numbered pictures as a source that is one clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Damaged, Frame, Skipped, SourceInfo
from sapiens_stream.settings import MAX_PIXELS, PHOTO_WORKERS, frame_name, is_number
from sapiens_stream.sources.demux import Mark
from sapiens_stream.sources.film_header import HEADER_BYTES, FilmHeader, exact_rate, film_header
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.sources.photos import Photos
from sapiens_stream.sources.source import Source, up_to_first_frame, with_first
from sapiens_stream.sources.time_code import at_rate

USUAL_RATE = Fraction(24)
"""Frames a second of pictures that tell none."""


class PictureSequence(Source):
    """The pictures "shot.1001.exr", "shot.1002.exr", ... as the frames of a clip, decoded several at once.

    Names are "shot/000000", "shot/000001", ..., and each frame has the picture's `number`. Its time is as far behind
    the first as its number is. Numbers that are missing between others are a `Skipped` for each gap, and so is a
    picture that cannot be read.

    Args:
        what: a name with a place for the number, "%d", "%04d" or "####".
        rate: frames a second; None: what the first picture tells (OpenEXR, DPX), or else `USUAL_RATE`.
        max_pixels: of a picture; one with more is a `Skipped`.
        workers: pictures that are decoded at once, fewer where they are very large.
        called: what it is named where something is said of it; None: as `what` has it.
        begin: the pictures before that place are left out, and indices count from there.
        alive: called whenever a picture was looked at.

    Raises:
        InputError: where there is no such picture, or none that can be read.
        UsageError: for a rate that there cannot be.

    >>> with PictureSequence("plates/shot.%04d.exr", rate=24) as clip:
    ...     for frame in clip.frames():
    ...         print(frame.number, frame.time)
    """

    def __init__(
        self,
        what: str | Path,
        *,
        rate: Fraction | float | None = None,
        max_pixels: int = MAX_PIXELS,
        workers: int = PHOTO_WORKERS,
        called: str | None = None,
        begin: Mark | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        pattern = parse_pattern(what)
        if pattern is None:
            raise InputError(f"{what}: no name of numbered pictures, which is like shot.%04d.png or shot.####.exr")
        self._name = called or pattern.name
        self._pattern = pattern
        self._alive = alive
        files = pattern.files()
        self._numbers = list(files)
        wanted = self._numbers[begin.place :] if begin is not None else self._numbers
        self._told = _header_of(files[self._numbers[0]])
        self._rate = _exact(rate) if rate is not None else self._told.rate or USUAL_RATE
        self._photos = Photos([files[number] for number in wanted], workers=workers, max_pixels=max_pixels)
        try:
            rest = self._read(wanted)
            head = self._head(rest)
            self.info = self._describe(head[-1], tuple(files.values()))
        except BaseException:
            self.close()
            raise
        self._frames: Iterator[Frame | Skipped] = with_first(head, rest)

    def frames(self) -> Iterator[Frame | Skipped]:
        return self._frames

    @property
    def first_name(self) -> str | None:
        return frame_name(self._pattern.stem, 0)

    def close(self) -> None:
        self._photos.close()
        self._frames = iter(())

    def _describe(self, first: Frame | Skipped, files: tuple[Path, ...]) -> SourceInfo:
        assert isinstance(first, Frame)
        begin, end = self._numbers[0], self._numbers[-1]
        return SourceInfo(
            name=self._name,
            kind="video",
            frame_count=len(self._numbers),
            size=first.size,
            frame_rate=self._rate,
            duration=(end + 1 - begin) / self._rate,
            pictures=files,
            numbers=(begin, end),
            time_base=1 / self._rate,
            sample_aspect_ratio=self._told.pixel_aspect,
            time_code=at_rate(self._told.time_code, self._rate),
        )

    def _head(self, frames: Iterator[Frame | Skipped]) -> list[Frame | Skipped]:
        """Up to the first frame, which tells how large they are."""
        head = up_to_first_frame(frames)
        if head and isinstance(head[-1], Frame):
            return head
        reason = f": {Path(head[0].name).name}: {head[0].reason}" if head and isinstance(head[0], Skipped) else ""
        raise InputError(f"{self._name}: no picture of it can be read{reason}")

    def _read(self, wanted: list[int]) -> Iterator[Frame | Skipped]:
        index = 0
        expected = wanted[0] if wanted else 0
        for number, each in zip(wanted, self._photos.frames(), strict=False):
            self._alive()
            if number > expected:
                yield self._gap(expected, number - 1)
            expected = number + 1
            path = str(self._pattern.path(number))
            if isinstance(each, Skipped):
                yield Skipped(path, each.reason)
                continue
            yield replace(
                each,
                index=index,
                name=frame_name(self._pattern.stem, index),
                number=number,
                pts=number - self._numbers[0],
                time_base=1 / self._rate,
                duration=1,
                sample_aspect_ratio=self._told.pixel_aspect,
                damaged=Damaged(path, each.damaged.reason) if each.damaged else None,
            )
            index += 1

    def _gap(self, first: int, last: int) -> Skipped:
        """What is told of numbers that are missing."""
        path = str(self._pattern.path(first))
        if first == last:
            return Skipped(path, "this picture is missing")
        return Skipped(path, f"{last + 1 - first} pictures are missing, to {self._pattern.path(last).name}")


def parse_rate(text: str) -> Fraction:
    """Frames a second as people write them: "24", "23.976", "24000/1001". Raises UsageError for anything else."""
    above, slash, below = text.partition("/")
    try:
        rate = Fraction(int(above), int(below)) if slash else exact_rate(float(above))
    except (ValueError, ZeroDivisionError, OverflowError):
        rate = None
    if rate is None or not 1 <= rate <= 1000:
        raise UsageError(f"{text} is no number of frames a second; 24, 23.976 or 24000/1001 are")
    return rate


def _exact(rate: Fraction | float) -> Fraction:
    """Raises UsageError for what is no rate."""
    exact = rate if isinstance(rate, Fraction) else exact_rate(rate) if is_number(rate) else None
    if exact is None or not 1 <= exact <= 1000:
        raise UsageError(f"{rate} frames a second; there are 1 to 1000")
    return exact


def _header_of(path: Path) -> FilmHeader:
    try:
        with path.open("rb") as file:
            return film_header(file.read(HEADER_BYTES))
    except OSError:  # decoding it tells
        return FilmHeader()
