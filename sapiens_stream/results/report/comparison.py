"""How two runs of the same clip differ: with two models, or with two settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from sapiens_stream.classes import MAX_CLASSES, ClassSet
from sapiens_stream.errors import InputError
from sapiens_stream.frame import Skipped, UInt8Array
from sapiens_stream.results.past_run import OnFailure, raised
from sapiens_stream.results.report.comparison_article import comparison_article
from sapiens_stream.results.report.difference import Difference
from sapiens_stream.results.report.markup import Markup
from sapiens_stream.results.report.pictures import painted, small
from sapiens_stream.results.stored import StoredClip, StoredFrame, stored_clips
from sapiens_stream.sources import Source

_DIFFERENT = (255, 0, 200)


def paired(
    folder: Path, other: Path, on_failure: OnFailure = raised
) -> tuple[list[tuple[StoredClip, StoredClip]], list[StoredClip]]:
    """The runs of one clip in both places, by their names, or the only ones; and those that are in one place alone."""
    ones, twos = stored_clips(folder, on_failure), stored_clips(other, on_failure)
    if len(ones) == len(twos) == 1:
        return [(ones[0], twos[0])], []
    named = {clip.stem: clip for clip in twos}
    pairs = [(clip, named.pop(clip.stem)) for clip in ones if clip.stem in named]
    matched = {one.stem for one, _ in pairs}
    return pairs, [clip for clip in ones if clip.stem not in matched] + list(named.values())


def compare(
    one: StoredClip,
    two: StoredClip,
    source: Source | None,
    on_skip: Callable[[Skipped], None],
    on_frame: Callable[[int], None] = lambda done: None,
) -> Markup:
    """An article on two runs. Raises InputError where they are not of the same clip, or have no frame in common."""
    _require_same_input(one, two)
    classes, table = _joined(one.classes, two.classes)
    difference = Difference(classes)
    alone = [0, 0]
    for place, (a, b) in enumerate(both(one.frames(on_skip), two.frames(on_skip), table, alone)):
        if a.size != b.size:
            raise InputError(f"{two.path}: frame {b.index} is {_size(b)}, that of {one.path} is {_size(a)}")
        difference.add(place, a, b)
        on_frame(place + 1)
    if not difference.timeline.frames:
        raise InputError(f"{one.path} and {two.path} have no frame in common")
    moments = difference.moments.chosen(difference.timeline.frames)
    frames = one.pictured(source, _unheard) if source is not None else one.frames(_unheard)
    wanted = {moment.index for moment in moments}
    pictures = _side_by_side(both(frames, two.frames(_unheard), table, [0, 0]), wanted, classes)
    return comparison_article(one, two, difference, pictures, moments, (alone[0], alone[1]))


def both(
    ones: Iterable[StoredFrame], twos: Iterable[StoredFrame], table: UInt8Array, alone: list[int]
) -> Iterator[tuple[StoredFrame, StoredFrame]]:
    """The frames that are in both, with the classes of both; those in one alone are counted."""
    left, right = iter(ones), iter(twos)
    one, two = next(left, None), next(right, None)
    while one is not None and two is not None:
        if one.index == two.index:
            yield one, replace(two, class_map=np.asarray(cv2.LUT(two.class_map, table), np.uint8))
            one, two = next(left, None), next(right, None)
        elif one.index < two.index:
            alone[0] += 1
            one = next(left, None)
        else:
            alone[1] += 1
            two = next(right, None)
    alone[0] += (one is not None) + sum(1 for _ in left)
    alone[1] += (two is not None) + sum(1 for _ in right)


def _side_by_side(
    frames: Iterable[tuple[StoredFrame, StoredFrame]], wanted: Collection[int], classes: ClassSet
) -> dict[int, list[UInt8Array]]:
    """Of each wanted frame that of the one run, that of the other, and where they differ."""
    paint = painted(classes)
    found: dict[int, list[UInt8Array]] = {}
    left = set(wanted)
    for one, two in frames if left else ():
        if one.index not in left:
            continue
        left.discard(one.index)
        two = replace(two, picture=one.picture)
        found[one.index] = [paint(one), paint(two), _differing(one, two)]
        if not left:
            break
    return found


def _differing(one: StoredFrame, two: StoredFrame) -> UInt8Array:
    """The picture in grey, with the pixels that differ."""
    changed = small((one.class_map != two.class_map).view(np.uint8) * np.uint8(255))
    if one.picture is None:
        grey = small((one.class_map > 0).view(np.uint8) * np.uint8(90), nearest=True)
    else:
        grey = np.asarray(cv2.cvtColor(small(one.picture), cv2.COLOR_RGB2GRAY), np.uint8) // np.uint8(2)
    weight = changed[..., None] / 255
    return np.asarray(grey[..., None] * (1 - weight) + np.array(_DIFFERENT) * weight, np.uint8)


def _joined(one: ClassSet, two: ClassSet) -> tuple[ClassSet, UInt8Array]:
    """The classes of both, by their names, and what ids of the second become."""
    names, colours = list(one.names), list(one.colours)
    table = np.zeros(MAX_CLASSES, np.uint8)
    for index, name in enumerate(two.names[1:], 1):
        if name not in names:
            if len(names) == MAX_CLASSES:
                raise InputError(f"{one.title} and {two.title} have more than {MAX_CLASSES} classes together")
            names.append(name)
            colours.append(two.colours[index])
        table[index] = names.index(name)
    return ClassSet(one.title, tuple(names), tuple(colours)), table


def _require_same_input(one: StoredClip, two: StoredClip) -> None:
    if one.past is None or two.past is None:
        return
    first, second = (clip.past.within("fingerprint", "input") for clip in (one, two) if clip.past is not None)
    if "sample" in first and "sample" in second and first["sample"] != second["sample"]:
        raise InputError(f"{two.path} was made of another {two.past.input} than {one.path}")


def _size(frame: StoredFrame) -> str:
    return f"{frame.size[1]}x{frame.size[0]}"


def _unheard(item: Skipped) -> None:
    """What was told of when the clips were read the first time."""
