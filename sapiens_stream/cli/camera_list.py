"""The cameras of this machine, for `live --list-devices`."""

from __future__ import annotations

from sapiens_stream.cli.one_line import one_line
from sapiens_stream.sources.live.cameras import list_cameras


def print_cameras() -> None:
    """A line each, and below it the formats that it has."""
    cameras = list_cameras()
    if not cameras:
        print("no cameras found")
    for camera in cameras:
        print(one_line(f"{camera.address}  {camera.name}"))
        for mode in camera.modes:
            rates = ", ".join(f"{float(rate):g}" for rate in mode.rates)
            print(f"  {mode.size[1]}x{mode.size[0]} {mode.pixel_format}, {rates} frames/s")
