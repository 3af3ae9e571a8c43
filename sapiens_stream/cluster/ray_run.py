"""A ledger's tasks handed to workers on a Ray cluster, which may come, go and die meanwhile."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sapiens_stream.cluster.ledger import Ledger, Task
from sapiens_stream.cluster.worker import Job, Worker
from sapiens_stream.errors import DeviceError, OutputError, SapiensStreamError, UsageError, cause
from sapiens_stream.install_line import install_line

CONNECT_SECONDS = 10.0
LOOK_EVERY = 1.0  # seconds that the loop waits for a result before it looks round
GROW_EVERY = 5.0  # seconds between looks for room for more workers
TELL_EVERY = 0.5
MOST_STARTS = 5
"""Workers in a row that may fail to start: a cluster on which none can is no cluster."""
MOST_UNWRITTEN = 5
"""Tasks in a row that may fail for where results go: a disk that is full is so for the rest, too."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a worker takes, and how many there are at most; None: as many as the cluster has room for.

    With `gpus` a fraction, workers share a card; None: one, or none where the cluster has none.
    """

    cpus: float = 1.0
    gpus: float | None = None
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How it stands. `running` are the tasks that are being done, `frames_per_second` those since the start."""

    nodes: int
    gpus: int
    workers: int
    done: int
    of: int
    frames: int
    frames_per_second: float
    running: int
    stopping: bool


@dataclass(eq=False)
class _Member:
    """A worker: its handle, and what it does now; None while it opens the model, or idles."""

    handle: Any
    task: Task | None = None
    is_ready: bool = False


class RayRun:
    """Runs a ledger to its end on the cluster at `address`: "auto", "local", "ray://HOST:PORT" or "HOST:PORT".

    `stop` may be called from a signal handler: no more is handed out, what runs is finished; a second time, that is
    ended too, in good order. Raises UsageError where Ray is not installed, or there is no such cluster, DeviceError
    where no worker can start, and where Ray on this machine ends, OutputError where nothing can be written any more.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        *,
        address: str,
        resources: Resources,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        worker: type[Worker] = Worker,
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._resources = resources
        self._on_progress = on_progress
        self._worker = worker
        self._ray = _connected(address)
        self._is_local = address == "local"
        if self._is_local:  # which never grows: Ray would wait forever for more cores
            there = self._ray.cluster_resources().get("CPU", resources.cpus)
            self._resources = replace(resources, cpus=min(resources.cpus, there))
        self._members: list[_Member] = []
        self._pending: dict[Any, _Member] = {}
        self._failed_starts = 0
        self._unwritten = 0
        self._looked = 0.0
        self._told = 0.0
        self._began = time.monotonic()
        self._total = len(ledger.waiting)
        self.stopping = False
        self._ending = False

    def stop(self) -> None:
        """See above."""
        self._ending = self.stopping
        self.stopping = True
        self._ledger.stopped = True

    abandon = stop

    def execute(self) -> None:
        """Until all is done or given up, or it is stopped."""
        gpus = self._gpus()
        remote = self._ray.remote(self._worker).options(
            num_cpus=self._resources.cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0, max_concurrency=2
        )
        try:
            while not self._ledger.is_finished:
                self._grow(remote, gpus)
                self._hand_out()
                self._collect()
                if self._ending:
                    for member in self._members:
                        if member.task is not None:
                            member.handle.stop.remote()
                self._tell()
        finally:
            for member in self._members:
                with suppress(Exception):
                    self._ray.kill(member.handle)

    def _gpus(self) -> float:
        if self._resources.gpus is not None:
            return self._resources.gpus
        return 1.0 if self._ray.cluster_resources().get("GPU", 0) >= 1 else 0.0

    def _grow(self, remote: Any, gpus: float) -> None:
        """Starts workers for which there is room and work; more than that wait for Ray to make room."""
        if self.stopping or time.monotonic() - self._looked < GROW_EVERY:
            return
        self._looked = time.monotonic()
        wanted = len(self._ledger.waiting) + len(self._ledger.running)
        most = self._resources.workers if self._resources.workers is not None else self._room(gpus)
        while len(self._members) < min(most, wanted):
            member = _Member(remote.remote(self._job))
            self._members.append(member)
            self._pending[member.handle.ready.remote()] = member

    def _room(self, gpus: float) -> int:
        """How many workers the cluster holds as it is now; one at least, for which it may grow."""
        there = self._ray.cluster_resources()
        rooms = [there.get("CPU", 0) // self._resources.cpus] if self._resources.cpus else []
        rooms += [there.get("GPU", 0) // gpus] if gpus else []
        return max(1, int(min(rooms, default=1)))

    def _hand_out(self) -> None:
        """A task to each that has none, and no more: what is not handed out waits here, in a few bytes."""
        for member in self._members:
            if member.is_ready and member.task is None and (task := self._ledger.next()) is not None:
                member.task = task
                self._pending[member.handle.do.remote(task)] = member

    def _collect(self) -> None:
        if not self._pending:
            time.sleep(LOOK_EVERY / 10)
            return
        ready, _ = self._ray.wait(list(self._pending), timeout=LOOK_EVERY)
        for reference in ready:
            member = self._pending.pop(reference)
            try:
                result = self._ray.get(reference)
            except Exception as error:
                self._take_failure(member, error)
                continue
            task, member.task = member.task, None
            if task is None:
                member.is_ready, self._failed_starts = True, 0
            else:
                self._ledger.finish(task, result)
                self._unwritten = self._unwritten + 1 if result.of_output else 0
                if self._unwritten >= MOST_UNWRITTEN:
                    raise OutputError(f"{result.error}; the same command goes on with what is left")

    def _take_failure(self, member: _Member, error: Exception) -> None:
        """A worker that is gone, or raised what nobody foresaw: it is replaced, and its task repeated."""
        self._members.remove(member)
        self._looked = 0.0
        why = _why(error)
        if member.task is not None:
            self._ledger.lost(member.task, why, with_node=_with_node(error))
        else:
            actual = getattr(error, "cause", None)
            if isinstance(actual, SapiensStreamError):  # of the model, or the device: it is the same everywhere
                raise actual
            self._failed_starts += 1
            if self._failed_starts >= MOST_STARTS:
                raise DeviceError(f"{MOST_STARTS} workers in a row could not start: {why}")
        with suppress(Exception):
            self._ray.kill(member.handle)

    def _tell(self) -> None:
        if time.monotonic() - self._told < TELL_EVERY:  # asking for the nodes takes a while where they are many
            return
        self._told = time.monotonic()
        seconds = self._told - self._began
        nodes = [node for node in self._ray.nodes() if node.get("Alive")]
        if self._is_local and not nodes:  # of another cluster the next machine may be on its way
            raise DeviceError("Ray on this machine has ended; the same command goes on with what is left")
        self._on_progress(
            Progress(
                nodes=len(nodes),
                gpus=round(sum(node.get("Resources", {}).get("GPU", 0) for node in nodes)),
                workers=sum(member.is_ready for member in self._members),
                done=len(self._ledger.done) + len(self._ledger.given_up),
                of=self._total,
                frames=self._ledger.frames,
                frames_per_second=self._ledger.frames / seconds if seconds else 0.0,
                running=len(self._ledger.running),
                stopping=self.stopping,
            )
        )


def _connected(address: str) -> Any:
    """Ray itself, connected."""
    try:
        import ray
    except ImportError:
        raise UsageError(f"a cluster needs Ray: {install_line('ray')}") from None
    if ray.is_initialized():
        return ray
    _require_answer(address)
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (Exception, SystemExit) as error:  # of a machine that is busy a bare Exception
        if address == "local":
            raise DeviceError(f"Ray does not start on this machine: {_why(error)}") from None
        help = "`ray start --head` makes one, local takes this machine"
        raise UsageError(f"no Ray cluster at --address {address}: {_why(error)}; {help}") from None
    return ray


def _require_answer(address: str) -> None:
    """Ray itself tries for minutes, and then ends the program."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        if address not in ("auto", "local"):
            raise UsageError(f"--address {address}: it is auto, local, HOST:PORT or ray://HOST:PORT")
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster at --address {address}: {cause(error)}") from None


def _with_node(error: Exception) -> bool:
    """Whether the worker died because its node did."""
    text = str(error)
    return type(error).__name__ == "NodeDiedError" or "node has died" in text or "node was terminated" in text.lower()


def _why(error: BaseException) -> str:
    """In one line: Ray's own are pages."""
    actual = getattr(error, "cause", None)
    if isinstance(actual, Exception):
        return cause(actual)
    if type(error).__name__ == "OutOfMemoryError":
        return "out of memory: Ray ended the worker"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = next((line for line in lines if "died" in line or "killed" in line), None)
    return (why or (lines[0] if len(lines) == 1 else cause(error)))[:300]
