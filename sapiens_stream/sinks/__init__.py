"""Where results go."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sapiens_stream.sinks.encoders import container_for
    from sapiens_stream.sinks.json_file import JsonSink
    from sapiens_stream.sinks.masks import MaskSink
    from sapiens_stream.sinks.outputs import Outputs, parse_save
    from sapiens_stream.sinks.overlay_video import OverlayVideo
    from sapiens_stream.sinks.pictures import PictureSink
    from sapiens_stream.sinks.sink import Sink

_FILES = {
    "JsonSink": "json_file",
    "MaskSink": "masks",
    "Outputs": "outputs",
    "OverlayVideo": "overlay_video",
    "PictureSink": "pictures",
    "Sink": "sink",
    "container_for": "encoders",
    "parse_save": "outputs",
}

__all__ = [
    "JsonSink",
    "MaskSink",
    "Outputs",
    "OverlayVideo",
    "PictureSink",
    "Sink",
    "container_for",
    "parse_save",
]


def __getattr__(name: str) -> Any:
    # On demand, because the preview window's process comes by here and must not load av.
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
