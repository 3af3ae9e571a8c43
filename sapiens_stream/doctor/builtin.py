"""How fast the built-in model is here, measured."""

from __future__ import annotations

import numpy as np
import torch

from sapiens_stream.api import Segmenter
from sapiens_stream.cores import usable_cores
from sapiens_stream.doctor.timing import fastest
from sapiens_stream.frame import Frame

SIZE = (720, 1280)


def frames_per_second(device: torch.device) -> float:
    """Class maps a second of pictures of `SIZE`, from RGB in memory; decoding and writing come on top.

    Raises SapiensStreamError where the device cannot run it.
    """
    engine = Segmenter("builtin", device=str(device)).engine
    ramp = np.linspace(0, 255, SIZE[1], dtype=np.uint8)
    picture = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (*SIZE, 3)))
    size = engine.batch_size
    # A run is as short as it may be with every core busy: a tenth of a second on two.
    count = 2 if device.type != "cpu" else -(-2 * usable_cores() // size)
    batches = [[Frame(index=index, name="frame", decoded=picture) for index in range(size)] for _ in range(count)]

    def run() -> None:
        for _ in engine.run(batches):
            pass

    run()  # the first is slow: memory, kernels
    return size * count / fastest(run)
