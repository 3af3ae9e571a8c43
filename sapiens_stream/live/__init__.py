"""Live runs: the newest frame of every camera, shown at once, with delays measured and recordings on the side."""

from sapiens_stream.live.background import in_background
from sapiens_stream.live.camera import Camera
from sapiens_stream.live.recorder import Recorder
from sapiens_stream.live.run import LiveRun

__all__ = ["Camera", "LiveRun", "Recorder", "in_background"]
