"""Human body parts segmented in photos, video and live cameras with Meta's Sapiens models.

>>> from sapiens_stream import Segmenter, segment
>>> model = Segmenter("builtin")
>>> result = model(image)                      # (H, W, 3) uint8 RGB
>>> result.class_map                           # (H, W) uint8 class ids
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sapiens_stream.api import Segmenter, segment
    from sapiens_stream.containers.label_video import LabelVideo, PersonVideo
    from sapiens_stream.errors import (
        DeviceError,
        InputError,
        ModelError,
        OutputError,
        SapiensStreamError,
        UsageError,
    )
    from sapiens_stream.frame import Damaged, Frame, Segmentation, Skipped, SourceInfo
    from sapiens_stream.labels import Label
    from sapiens_stream.pipeline import Run
    from sapiens_stream.result import Result
    from sapiens_stream.sinks import Outputs, Sink
    from sapiens_stream.sources import Source, open_source

    __version__: str

_ROOMS = {
    "api": ("Segmenter", "segment"),
    "errors": ("DeviceError", "InputError", "ModelError", "OutputError", "SapiensStreamError", "UsageError"),
    "frame": ("Damaged", "Frame", "Segmentation", "Skipped", "SourceInfo"),
    "labels": ("Label",),
    "pipeline": ("Run",),
    "result": ("Result",),
    "sinks": ("Outputs", "Sink"),
    "sources": ("Source", "open_source"),
    "containers.label_video": ("LabelVideo", "PersonVideo"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Damaged",
    "DeviceError",
    "Frame",
    "InputError",
    "Label",
    "LabelVideo",
    "ModelError",
    "OutputError",
    "Outputs",
    "PersonVideo",
    "Result",
    "Run",
    "SapiensStreamError",
    "Segmentation",
    "Segmenter",
    "Sink",
    "Skipped",
    "Source",
    "SourceInfo",
    "UsageError",
    "__version__",
    "open_source",
    "segment",
]


def __getattr__(name: str) -> Any:
    # On demand, because torch takes seconds to load and a process that shows a window must not load av at all.
    if name in _ROOM_OF:
        return getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("sapiens-stream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
