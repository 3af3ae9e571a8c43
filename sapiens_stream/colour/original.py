"""A picture in all the depth that its file has, where what a model sees of it has 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Original:
    """`pixels` are (H, W, 3) RGB as they lie in the file: uint16 as a screen shows them, or float32 light.

    Of light 1 is SDR white; `chromaticities` are x and y of its red, green, blue and white, None: those of BT.709.
    """

    pixels: npt.NDArray[Any]
    chromaticities: tuple[float, ...] | None = None

    @property
    def is_light(self) -> bool:
        """Whether the numbers are light."""
        return bool(self.pixels.dtype == np.float32)
