"""The C library's allocator, set for a program that needs the same large buffers again and again."""

from __future__ import annotations

import ctypes
import sys

# glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_SETTINGS = {
    _MMAP_THRESHOLD: 32 << 20,  # the largest that every glibc takes
    _TRIM_THRESHOLD: 512 << 20,
    _ARENA_MAX: 1,  # what one thread frees serves all
}


def keep_freed_memory() -> None:
    """Has glibc keep freed buffers for the next frame instead of giving them back to the system.

    Otherwise it maps a tensor of a few megabytes anew for each use, and the system clears every page: a tenth of the
    CPU time of a small model, a fifth where other programs are busy too. To be called before the first thread starts;
    with another C library nothing happens.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for setting, value in _SETTINGS.items():
        mallopt(setting, value)
