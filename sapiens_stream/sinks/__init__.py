"""Where results go."""

from sapiens_stream.sinks.encoders import container_for
from sapiens_stream.sinks.json_file import JsonSink
from sapiens_stream.sinks.masks import MaskSink
from sapiens_stream.sinks.outputs import Outputs, parse_save
from sapiens_stream.sinks.overlay_video import OverlayVideo
from sapiens_stream.sinks.pictures import PictureSink
from sapiens_stream.sinks.sink import Sink

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
