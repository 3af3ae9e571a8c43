"""Where results go."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sapiens_stream.sinks.json_file import JsonSink
    from sapiens_stream.sinks.masks import MaskSink
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.pictures import PictureSink
    from sapiens_stream.sinks.registry import parse_save
    from sapiens_stream.sinks.sink import Sink
    from sapiens_stream.sinks.video.encoders import container_for
    from sapiens_stream.sinks.video.overlay import OverlayVideo

_FILES = {
    "JsonSink": "json_file",
    "MaskSink": "masks",
    "Outputs": "outputs",
    "OverlayVideo": "video.overlay",
    "PictureSink": "pictures",
    "Sink": "sink",
    "container_for": "video.encoders",
    "parse_save": "registry",
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
