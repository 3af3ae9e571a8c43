"""OpenEXR pictures, by the library of that name."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from sapiens_stream.errors import UsageError
from sapiens_stream.install_line import install_line


def require_openexr(what: str) -> None:
    """Raises UsageError where the library is missing; `what` needs it."""
    try:
        import OpenEXR  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{what} needs the package OpenEXR: {install_line('exr')} ({error})") from error


def encode_exr(
    channels: Mapping[str, npt.NDArray[np.float32]],
    attributes: Mapping[str, str],
    *,
    chromaticities: tuple[float, ...] | None = None,
    pixel_aspect: Fraction | None = None,
) -> bytes:
    """Channels, each (H, W) float32, as one part, ZIP.

    `chromaticities` are x and y of red, green, blue and white; `pixel_aspect` the width of a pixel over its height.
    """
    import OpenEXR

    header: dict[str, Any] = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **attributes}
    if pixel_aspect:
        header["pixelAspectRatio"] = float(pixel_aspect)
    if chromaticities is not None:
        header["chromaticities"] = chromaticities
    file = OpenEXR.File(header, {name: np.ascontiguousarray(plane, np.float32) for name, plane in channels.items()})
    stream = BytesIO()
    file.write(stream)
    return stream.getvalue()
