"""Composed pictures used several times: composing costs a processor more than a step of training costs a GPU."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch

from sapiens_stream.threads import ThreadGroup
from sapiens_stream.training.batches import Batch

WAITING = 8
"""Batches that wait to be taken up."""
HELD = 6
"""Pictures held of a shape, in batches: what is drawn is of many pieces, whoever composed them."""
FAILURES = 5
"""Times that composing may break off before it is left be."""


@dataclass
class _Pool:
    """Pictures of one shape on the device, the oldest replaced first; `uses` are left before more must arrive."""

    images: torch.Tensor
    targets: torch.Tensor
    filled: int = 0
    row: int = 0
    uses: int = 0
    arrived: float = field(default_factory=time.monotonic)

    def add(self, images: torch.Tensor, targets: torch.Tensor) -> None:
        rows = (self.row + torch.arange(len(images), device=self.images.device)) % len(self.images)
        for held, new in ((self.images, images), (self.targets, targets)):
            held.index_copy_(0, rows, new.to(held.device, non_blocking=True))
        self.row = (self.row + len(images)) % len(self.images)
        self.filled = min(self.filled + len(images), len(self.images))
        self.arrived = time.monotonic()

    def draw(self, count: int) -> Batch:
        """In twos, as they came."""
        device = self.images.device
        first = 2 * torch.randint(self.filled // 2, ((count + 1) // 2,), device=device)
        rows = torch.stack([first, first + 1], 1).flatten()[:count]
        return self.images[rows], self.targets[rows]


class Echo:
    """Batches of `size` on `device`, of pieces composed elsewhere, each picture in at most about `times` of them: in
    fewer where the device is the slower one, since new pictures teach more than old ones.

    A piece's pictures have one shape, and so have a batch's. Where composing breaks off it is begun anew; where it
    keeps breaking off, what is held goes on being used.
    """

    def __init__(self, pieces: Iterable[Batch], size: int, times: int, device: torch.device) -> None:
        self._pieces, self._size, self._times, self._device = pieces, size, times, device
        self._arrived: queue.Queue[Batch] = queue.Queue(WAITING)
        self._pools: dict[tuple[int, ...], _Pool] = {}
        self._ended = self._left = False

    def __iter__(self) -> Iterator[Batch]:
        fetching = ThreadGroup(self._leave, log_late=False)  # it may wait for a picture that takes long
        fetching.start("echo", self._fetch)
        try:
            while True:
                self._take_up()
                pool = max(self._pools.values(), key=lambda pool: pool.uses)
                pool.uses -= self._size
                yield pool.draw(self._size)
        finally:
            fetching.close()  # with it go the processes that compose, which complain of a program that ends before them

    def _leave(self) -> None:
        self._left = True

    def _fetch(self) -> None:
        for _ in range(FAILURES):
            try:
                for piece in self._pieces:
                    if not self._put(piece):
                        return
                break
            except Exception as error:  # whatever befell a worker, the training goes on
                print(f"composing broke off: {error}", flush=True)
        self._ended = True

    def _put(self, piece: Batch) -> bool:
        """Waits until there is room; whether anybody is there to take it."""
        while not self._left:
            try:
                self._arrived.put(piece, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False

    def _take_up(self) -> None:
        """Whatever has arrived; waits while too little is held."""
        while True:
            ended = self._ended
            scarce = not ended and not any(pool.uses >= self._size for pool in self._pools.values())
            try:
                self._keep(*self._arrived.get(block=scarce, timeout=1.0))
            except queue.Empty:
                if ended and not self._pools:
                    raise RuntimeError("nothing was composed") from None
                if not scarce:
                    return

    def _keep(self, images: torch.Tensor, targets: torch.Tensor) -> None:
        shape = tuple(images.shape[1:])
        if shape not in self._pools:
            self._forget()
            rows = max(HELD * self._size, len(images)) // 2 * 2
            self._pools[shape] = _Pool(
                torch.empty((rows, *shape), dtype=torch.uint8, device=self._device),
                torch.empty((rows, *targets.shape[1:]), dtype=torch.uint8, device=self._device),
            )
        pool = self._pools[shape]
        pool.add(images, targets)
        pool.uses = min(pool.uses + len(images) * self._times, pool.filled * self._times)

    def _forget(self) -> None:
        """Shapes of which nothing has come for long and little is left: pictures grow as the training goes on."""
        stale = time.monotonic() - 60
        self._pools = {
            shape: pool for shape, pool in self._pools.items() if pool.arrived > stale or pool.uses >= self._size
        }
