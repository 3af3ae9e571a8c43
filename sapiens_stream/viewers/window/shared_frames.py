"""Screens in memory that the run and the window's process share. The child imports this: neither av nor torch.

The memory holds SLOTS places for a screen. Who may touch a slot is agreed by messages through a pipe, so that a picture
is never painted while it is written: the run fills a free slot and names it; the window frees it once a newer one is
there. The memory has no name anywhere, so that nothing is left of it, however the two processes end.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.viewers.viewer import LiveFigures, Screen

if TYPE_CHECKING:
    from sapiens_stream.frame import Segmentation

UInt8Array = npt.NDArray[np.uint8]

SLOTS = 3  # one is painted, one waits, one is written
PIXELS = 1920 * 1200  # of all pictures of a screen together; larger ones are shrunk
_TEXT_BYTES = 2**18
_SLOT_BYTES = _TEXT_BYTES + PIXELS * 4
_LONGEST_TEXT = 300  # characters of a camera's name or trouble


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedView:
    """A camera's picture as it is to be painted.

    `rgb` is (H, W, 3) uint8 RGB and `class_map` (H, W) uint8; both None until the first one is there.
    """

    camera: str
    rgb: UInt8Array | None = None
    class_map: UInt8Array | None = None
    carried: int = 0
    trouble: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedScreen:
    """A `Screen` that has come through the shared memory; its arrays lie there, until its slot is freed."""

    views: Sequence[SharedView]
    figures: LiveFigures
    recording: bool = False
    paused: bool = False


class SharedSlots:
    """The memory. `handle` is what the child's `attach` needs, `descriptors` what it must inherit."""

    def __init__(self, memory: mmap.mmap, handle: str, descriptors: tuple[int, ...] = ()) -> None:
        self.handle = handle
        self.descriptors = descriptors
        self._memory = memory
        self._bytes = np.frombuffer(memory, np.uint8)

    @classmethod
    def create(cls) -> SharedSlots:
        """Raises OSError where the system has no room for it."""
        size = SLOTS * _SLOT_BYTES
        if sys.platform == "win32":
            tag = f"sapiens-stream-{os.getpid()}-{os.urandom(8).hex()}"
            return cls(mmap.mmap(-1, size, tagname=tag), tag)
        if sys.platform == "linux":  # /dev/shm is small in many containers
            descriptor = os.memfd_create("sapiens-stream-preview")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        try:
            os.ftruncate(descriptor, size)
            return cls(mmap.mmap(descriptor, size), str(descriptor), (descriptor,))
        except OSError:
            os.close(descriptor)
            raise

    @classmethod
    def attach(cls, handle: str) -> SharedSlots:
        size = SLOTS * _SLOT_BYTES
        if sys.platform == "win32":
            return cls(mmap.mmap(-1, size, tagname=handle), handle)
        return cls(mmap.mmap(int(handle), size), handle, (int(handle),))

    def close(self) -> None:
        """Gives the descriptor back; the memory goes with the last array that lies in it."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()

    def write(self, slot: int, screen: Screen) -> None:
        """Copies a screen, in square pixels; what is larger than its share of PIXELS is shrunk. 1 ms at 1080p."""
        start = slot * _SLOT_BYTES
        place = start + _TEXT_BYTES
        share = PIXELS // max(len(screen.views), 1)
        views = []
        for view in screen.views:
            size = (0, 0)
            if view.latest is not None:
                size = _within(view.latest.frame.seen_size, share)
                rgb, class_map = self._arrays(place, size)
                _copy(view.latest, rgb, class_map)
                place += 4 * size[0] * size[1]
            trouble = view.trouble and view.trouble[:_LONGEST_TEXT]
            views.append((view.camera[:_LONGEST_TEXT], view.carried, trouble, size))
        content = json.dumps([views, asdict(screen.figures), screen.recording, screen.paused]).encode()
        header = len(content).to_bytes(4, "little") + content
        self._bytes[start : start + len(header)] = np.frombuffer(header, np.uint8)

    def read(self, slot: int) -> SharedScreen:
        """The screen in a slot; its pictures are not copied."""
        start = slot * _SLOT_BYTES
        place = start + _TEXT_BYTES
        length = int.from_bytes(self._bytes[start : start + 4].tobytes(), "little")
        content = json.loads(self._bytes[start + 4 : start + 4 + length].tobytes())
        views, figures, recording, paused = content
        pictures = []
        for camera, carried, trouble, (height, width) in views:
            rgb = class_map = None
            if height:
                rgb, class_map = self._arrays(place, (height, width))
                place += 4 * height * width
            pictures.append(SharedView(camera=camera, rgb=rgb, class_map=class_map, carried=carried, trouble=trouble))
        figures["parts_median"] = tuple((name, value) for name, value in figures["parts_median"])
        return SharedScreen(views=pictures, figures=LiveFigures(**figures), recording=recording, paused=paused)

    def _arrays(self, place: int, size: tuple[int, int]) -> tuple[UInt8Array, UInt8Array]:
        height, width = size
        middle, end = place + 3 * height * width, place + 4 * height * width
        return self._bytes[place:middle].reshape(height, width, 3), self._bytes[middle:end].reshape(height, width)


def _within(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """The largest (height, width) of the same shape, not above `size`, with at most `pixels` pixels."""
    height, width = size
    scale = min((pixels / (height * width)) ** 0.5, 1.0)
    return max(int(height * scale), 1), max(int(width * scale), 1)


def _copy(result: Segmentation, rgb: UInt8Array, class_map: UInt8Array) -> None:
    for source, target, how in (
        (result.frame.rgb, rgb, cv2.INTER_LINEAR),
        (result.class_map, class_map, cv2.INTER_NEAREST),
    ):
        if source.shape == target.shape:
            np.copyto(target, source)
        else:
            cv2.resize(source, target.shape[1::-1], dst=target, interpolation=how)
