"""Human body parts segmented in photos, video and live cameras with Meta's Sapiens models.

>>> from sapiens_stream import Segmenter, segment
>>> model = Segmenter("builtin")
>>> result = model(image)                      # (H, W, 3) uint8 RGB
>>> result.class_map                           # (H, W) uint8 class ids
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sapiens_stream.errors import (
        DeviceError,
        InputError,
        ModelError,
        OutputError,
        SapiensStreamError,
        UsageError,
    )
    from sapiens_stream.frame import Frame, Label, Segmentation, Skipped
    from sapiens_stream.segmenter import Result, Segmenter, segment

__all__ = [
    "DeviceError",
    "Frame",
    "InputError",
    "Label",
    "ModelError",
    "OutputError",
    "Result",
    "SapiensStreamError",
    "Segmentation",
    "Segmenter",
    "Skipped",
    "UsageError",
    "segment",
]


def __getattr__(name: str) -> Any:
    # On demand, because torch takes seconds to load and a process that shows a window must not load av at all.
    if name in __all__:
        for room in ("errors", "frame", "segmenter"):
            found = getattr(import_module(f"sapiens_stream.{room}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
