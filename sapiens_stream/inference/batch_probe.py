"""The batch size at which a model is fastest on its device, by trying."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import torch

from sapiens_stream.inference.memory import out_of_memory, share_in_use

MOST = 64
MOST_SECONDS = 10.0
"""No larger batch is tried from then on."""
MOST_MEMORY = 0.7
"""Of the device's: a second batch is in flight and class maps are made beside the one that computes."""
WORTH = 1.02
"""A larger batch takes memory and delays the first result: it has to be faster by as much."""
ROUNDS = 3


def choose_batch_size(
    compute: Callable[[int], None], device: torch.device, note: Callable[[str], None], *, most: int = MOST
) -> int:
    """The fastest batch size up to `most`; `note` is called with which and why. Raises what `frame_rates` does."""
    rates = frame_rates(compute, lambda: share_in_use(device), most=most)
    chosen = fastest(rates)
    tried = ", ".join(f"{batch}: {rate:.3g}" for batch, rate in rates.items())
    note(f"{device}: {chosen} at once (frames/s by batch size, {tried})")
    return chosen


def frame_rates(compute: Callable[[int], None], memory: Callable[[], float], *, most: int = MOST) -> dict[int, float]:
    """Frames/s by batch size, of 1, 2, 4 and so on, until two larger batches in a row are no faster.

    `compute` computes a batch of that size and waits for it; `memory` is the share of the device's that is in use.
    Raises what `compute` does; but where the memory is short for more than one frame, that ends the search.
    """
    rates: dict[int, float] = {}
    begin = time.perf_counter()
    for batch in itertools.takewhile(lambda size: size <= most, (1 << power for power in itertools.count())):
        try:
            compute(batch)  # what is set up for a new size is not counted
            start = time.perf_counter()
            for _ in range(ROUNDS):
                compute(batch)
        except RuntimeError as error:
            if rates and out_of_memory(error):
                break
            raise
        rates[batch] = ROUNDS * batch / (time.perf_counter() - start)
        if memory() > MOST_MEMORY:
            if batch > 1:
                del rates[batch]
            break
        late = time.perf_counter() - begin > MOST_SECONDS
        if late or batch >= 4 * fastest(rates):
            break
    return rates


def fastest(rates: dict[int, float]) -> int:
    """The smallest batch size than which no larger one is faster by WORTH."""
    best = min(rates)
    for batch in sorted(rates):
        if rates[batch] > WORTH * rates[best]:
            best = batch
    return best
