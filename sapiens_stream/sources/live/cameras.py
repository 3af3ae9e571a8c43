"""The cameras of this computer."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass

import av

from sapiens_stream.quiet import keep_quiet
from sapiens_stream.sources.live.v4l2 import CameraMode, camera_modes

DEVICE_FORMATS = {"darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's input format for cameras, by `sys.platform`; v4l2 elsewhere."""


@dataclass(frozen=True)
class CameraDevice:
    """A camera of this computer.

    Args:
        address: what to open it by.
        name: what it calls itself.
        modes: the formats, sizes and rates that it offers; on Linux alone.

    >>> Live(CameraDevice("/dev/video0", "Webcam").address)
    """

    address: str
    name: str
    modes: tuple[CameraMode, ...] = ()


def list_cameras(platform: str = sys.platform) -> list[CameraDevice]:
    """The cameras there are.

    Args:
        platform: as `sys.platform`.

    Returns:
        A CameraDevice each, in the system's order; none is an empty list.

    >>> [camera.address for camera in list_cameras()]
    ['/dev/video0']
    """
    devices = _devices(platform)
    if platform == "darwin":
        return [CameraDevice(each.name, each.description) for each in devices]
    if platform == "win32":
        return [CameraDevice(f"video={each.description}", each.description) for each in devices]
    return [CameraDevice(each.name, each.description, _modes(each.name)) for each in devices]


def _devices(platform: str) -> list[av.DeviceInfo]:
    keep_quiet()
    try:
        devices = av.enumerate_input_devices(DEVICE_FORMATS.get(platform, "v4l2"))
    except (av.FFmpegError, ValueError):  # a build of FFmpeg without cameras
        return []
    return [
        each
        for each in devices
        if (not each.media_types or "video" in each.media_types) and not each.description.startswith("Capture screen")
    ]


def _modes(device: str) -> tuple[CameraMode, ...]:
    with contextlib.suppress(OSError):  # it may be another user's
        return camera_modes(device)
    return ()
