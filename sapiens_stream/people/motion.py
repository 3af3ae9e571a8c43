"""How the pictures of a clip move: optical flow both ways, computed once a pair, beside the model, and checked."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import Frame, UInt8Array
from sapiens_stream.inference.flow import Flow
from sapiens_stream.inference.propagation import LONG_SIDE, Field, destinations, low_resolution
from sapiens_stream.threads import Pool

_THREADS = 2
_ASTRAY = 1 / LONG_SIDE  # of the longer side, at most, and a pixel at least, that a way there and back may miss by
_BINS = 64
_UNLIKE = 40  # grey levels that a place may differ by from where it came from, its surroundings taken together
_SURROUNDINGS = (5, 5)
# A cut is where the flow leads back from less of the picture than this, or the brightnesses have less in common, or
# both are middling. Real clips have 0.89 and 0.97 at least from frame to frame, and over cuts 0.05 and 0.68 at most.
_LOST, _OTHER = 0.5, 0.3
_MIDDLING = 0.7, 0.75


@dataclass(frozen=True, eq=False)
class Motion:
    """From one picture to another."""

    field: Field
    """For each pixel of the one, how far right and down it lies in the other, low-resolution pixels."""
    sure: UInt8Array
    """(h, w) 255 where the other's own flow leads back, else 0."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two pictures of a clip."""

    forth: Motion
    """From the later to the earlier."""
    back: Motion
    """From the earlier to the later."""
    cut: bool
    """Whether they belong to two scenes; nothing is carried from one to the other."""
    lost: float = 0.0
    """The share of the later picture that the flow does not lead back to."""


Picture = Future[UInt8Array]

_lock = threading.Lock()
_pictures: WeakKeyDictionary[Frame, Picture] = WeakKeyDictionary()
"""(h, w) low-resolution, grey."""
_pairs: WeakKeyDictionary[Frame, WeakKeyDictionary[Frame, Future[Pair]]] = WeakKeyDictionary()


def pair_of(later: Frame, earlier: Frame) -> Future[Pair]:
    """The flow between two frames of a clip, computed in a thread of its own, once for all that ask for it."""
    with _lock:
        known = _pairs.setdefault(later, WeakKeyDictionary())
        if earlier not in known:
            known[earlier] = flow_threads().submit(_pair, _picture(later), _picture(earlier))
        return known[earlier]


def _picture(frame: Frame) -> Picture:
    if frame not in _pictures:
        _pictures[frame] = flow_threads().submit(low_resolution, frame)
    return _pictures[frame]


@cache
def flow_threads() -> Pool:
    """In which all flow is computed. What waits for something else there is queued after it."""
    # Pictures are queued before the pairs that wait for them, so that those cannot take up all threads. One for all
    # clips, since a model's threads and those that carry its maps ask for the same pairs; it ends with the interpreter.
    return Pool(_THREADS, "flow")


_local = threading.local()


def _pair(later: Picture, earlier: Picture) -> Pair:
    if not hasattr(_local, "flow"):  # not for several threads at once
        _local.flow = Flow(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return between(later.result(), earlier.result(), _local.flow)


def between(new: UInt8Array, old: UInt8Array, flow: Flow) -> Pair:
    """The pair that two pictures, (h, w), make by that flow."""
    if new.shape != old.shape:
        return apart(new)
    return checked(flow(new, old), flow(old, new), new, old)


def apart(new: UInt8Array) -> Pair:
    """The pair of a picture with one of another scene."""
    still = Motion(np.zeros((*new.shape, 2), np.float32), np.zeros_like(new))
    return Pair(still, still, cut=True, lost=1.0)


def checked(forth: Field, back: Field, new: UInt8Array, old: UInt8Array) -> Pair:
    """The pair of two pictures, (h, w), by the flow from the new one to the old one, and back."""
    motions = Motion(forth, _sure(forth, back, new, old)), Motion(back, _sure(back, forth, old, new))
    led = float(np.count_nonzero(motions[0].sure)) / new.size
    return Pair(*motions, cut=_is_cut(new, old, led), lost=1 - led)


def resized(field: Field, size: tuple[int, int], how: int) -> Field:
    """The same motion in pictures of another size, (W, H), in whose pixels it is told."""
    other = np.asarray(cv2.resize(field, size, interpolation=how), np.float32)
    return np.multiply(other, _in_pixels(field.shape[1::-1], size), out=other)


@lru_cache(maxsize=8)
def _in_pixels(of: tuple[int, int], to: tuple[int, int]) -> Field:
    """What a field of that size, (W, H), is multiplied with: as large, which is many times faster than two numbers."""
    scale = np.array([to[0] / of[0], to[1] / of[1]], np.float32)
    return np.ascontiguousarray(np.broadcast_to(scale, (to[1], to[0], 2)))


def added(first: Field, second: Field) -> Field:
    """The flow over two steps: by the first, and from there by the second."""
    return first + np.asarray(_remapped(second, destinations(first)), np.float32)


def _sure(field: Field, other: Field, here: UInt8Array, there: UInt8Array) -> UInt8Array:
    """Where `field`, from the one picture to the other, leads back by the other's field, and to what looks like it."""
    places = destinations(field)
    returned, came = _remapped(other, places), _remapped(there, places)
    astray = max(1.0, _ASTRAY * max(here.shape))
    near = cv2.inRange(cv2.add(field, returned), (-astray, -astray), (astray, astray))
    unlike = cv2.boxFilter(cv2.absdiff(here, came), -1, _SURROUNDINGS)
    return np.asarray(cv2.bitwise_and(near, cv2.inRange(unlike, (0,), (_UNLIKE - 1,))), np.uint8)


def _remapped(plane: npt.NDArray[Any], to: Field) -> npt.NDArray[Any]:
    return cv2.remap(plane, to, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload,no-any-return]


def _is_cut(new: UInt8Array, old: UInt8Array, led: float) -> bool:
    common = alike(new, old)
    return led < _LOST or common < _OTHER or (led < _MIDDLING[0] and common < _MIDDLING[1])


def alike(one: UInt8Array, other: UInt8Array) -> float:
    """How much the brightnesses of two pictures have in common, 0 to 1: the overlap of their histograms."""
    first, second = (cv2.calcHist([each], [0], None, [_BINS], [0, 256]) / each.size for each in (one, other))
    return float(np.minimum(first, second).sum())
