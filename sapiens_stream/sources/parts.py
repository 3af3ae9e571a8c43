"""A long video in parts, each to be read by itself, whose frames together are those of the whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.settings import MAX_PIXELS, frame_name
from sapiens_stream.sources.clip import open_clip
from sapiens_stream.sources.demux import Mark
from sapiens_stream.sources.source import Source

RUN_UP = 2
"""Key frames that a part is decoded from before what is seen of it. After one of them the pictures that refer to what
is before it are broken (an open GOP); where the picture is renewed bit by bit, all are until the next."""


@dataclass(frozen=True)
class Margin:
    """What more than its own frames is seen of a part, so that its ends are as in the whole."""

    seconds: Fraction = Fraction(0)
    """Before it, ..."""
    before: int = 0
    """... and so many frames before that."""
    after: int = 0
    """Frames after it."""


_NONE = Margin()


@dataclass(frozen=True)
class Part:
    """Part `number`, from 0, of `count`: the frames from the first that is not before `begin` up to that of `end`.

    Both are seconds; None: the beginning, and the end, of the video. `mark` is where decoding begins; None: at the
    beginning. From `sound` (seconds) on, frames come out of that as they do in the whole, the first of them as its
    frame `first`. `frames` are about as many as it has. Of what is around it `margin` is seen.
    """

    number: int
    count: int
    begin: Fraction | None
    end: Fraction | None
    mark: Mark | None
    frames: int
    sound: Fraction | None = None
    first: int = 0
    margin: Margin = _NONE

    @property
    def label(self) -> str:
        """For the names of files."""
        return f"chunk_{self.number}_of_{self.count}"


@dataclass(frozen=True)
class KeyFrames:
    """Of a video: their times (seconds, on one line), where they lie, and how many packets there are in all.

    `numbers` says of each how many frames of the whole come before its time, if each packet gives one.
    """

    times: Sequence[Fraction]
    marks: Sequence[Mark]
    packets: int
    numbers: Sequence[int]

    def parts(self, count: int, margin: Margin = _NONE) -> list[Part]:
        """About equally long ones, `count` of them or, where there are too few key frames, less."""
        cuts: list[int] = []
        for number in range(1, count):
            wanted = self.packets * number // count
            after = next((at for at, mark in enumerate(self.marks) if mark.place >= wanted), None)
            if after is not None and after > (cuts[-1] if cuts else 0):
                cuts.append(after)
        starts = [0, *cuts]
        parts = []
        for number, start in enumerate(starts):
            following = starts[number + 1] if number + 1 < len(starts) else None
            sound = self._before(start, margin)
            run_up = sound - RUN_UP
            parts.append(
                Part(
                    number=number,
                    count=len(starts),
                    begin=self.times[start] if start else None,
                    end=self.times[following] if following is not None else None,
                    mark=self.marks[run_up] if run_up > 0 else None,
                    frames=(self.marks[following].place if following is not None else self.packets)
                    - (self.marks[start].place if start else 0),
                    sound=self.times[sound] if run_up > 0 else None,
                    first=self.numbers[sound] if run_up > 0 else 0,
                    margin=margin,
                )
            )
        return parts

    def _before(self, start: int, margin: Margin) -> int:
        """The last key frame with all of a margin between it and another."""
        place = start
        while place and self.times[start] - self.times[place] < margin.seconds:
            place -= 1
        edge = self.numbers[place]
        while place and edge - self.numbers[place] < margin.before:
            place -= 1
        return place


class VideoPart(Source):
    """The frames of a part of a video, as they are when it is decoded from its beginning.

    The frames of its margin are yielded too: `is_kept` tells which are its own.
    Indices and names are those of the whole, as far as packets tell: one that is damaged gives no frame there.
    `first` is the first frame of the whole video. `began` and `following` are the times of the part's first frame, and
    of the frame after its last, once they are read.

    `rate` is of numbered pictures. Raises InputError as `open_clip` does.
    """

    def __init__(
        self,
        path: str | Path,
        part: Part,
        *,
        rate: Fraction | None = None,
        max_pixels: int = MAX_PIXELS,
        called: str | None = None,
    ) -> None:
        self.part = part
        self.began: Fraction | None = None
        self.following: Fraction | None = None
        self._kept = range(0)
        with open_clip(path, rate=rate, max_pixels=max_pixels, called=called) as whole:
            self.first = next(frame for frame in whole.frames() if isinstance(frame, Frame))
            self.info = replace(whole.info, frame_count=part.frames)
        self._clip = open_clip(path, rate=rate, max_pixels=max_pixels, called=called, begin=part.mark)
        self._stem = self.first.name.rpartition("/")[0]
        self._frames = self._with_margin()

    def frames(self) -> Iterator[Frame | Skipped]:
        return self._frames

    @property
    def first_name(self) -> str | None:
        return None

    def is_kept(self, frame: Frame) -> bool:
        """Whether a frame that was yielded is the part's own."""
        return frame.index in self._kept

    def close(self) -> None:
        self._clip.close()

    def _numbered(self) -> Iterator[Frame | Skipped]:
        """The sound ones, as the whole numbers them."""
        index, sound = self.part.first, self.part.sound
        for each in self._clip.frames():
            if isinstance(each, Skipped):
                yield each
            elif sound is None or (each.time is not None and each.time >= sound):
                yield replace(each, index=index, name=frame_name(self._stem, index))
                index += 1

    def _with_margin(self) -> Iterator[Frame | Skipped]:
        margin, begin, end = self.part.margin, self.part.begin, self.part.end
        before: deque[Frame] = deque(maxlen=margin.before)
        begun, after = begin is None, 0
        for each in self._numbered():
            if isinstance(each, Skipped):
                if begun and not after:
                    yield each
                continue
            time = each.time
            assert time is not None
            if not begun:
                assert begin is not None
                if time < begin - margin.seconds:
                    before.append(each)
                    continue
                yield from before
                before.clear()
                if time < begin:
                    yield each
                    continue
                begun = True
            if not after and end is not None and time >= end:
                self.following = time
                after = 1
            if after:
                if after > margin.after:
                    return
                after += 1
            else:
                self.began = time if self.began is None else self.began
                self._kept = range(self._kept.start if self._kept else each.index, each.index + 1)
            yield each
