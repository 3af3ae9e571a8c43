"""A CUDA that is not there, to test what a real one reorders: streams, events, pinned memory, freed memory, devices.

Tensors say that they are on `cuda:N` and are computed on the CPU at once, so that the numbers are right. What is
checked is the order that the program asks for, by happens-before rules over vector clocks: a stream's clock counts
what was launched on it, an event is a copy of its stream's clock, and who waits for an event (a stream, or the host)
takes the larger of both clocks. Whatever is not ordered so, a real device may do in any order.

    with simulated_cuda(devices=2) as cuda:
        ...                       # in every further thread, first of all: cuda.enter_thread()
    assert not cuda.problems

It puts itself in the place of `torch.cuda` and relies on hooks of torch that are not public: `unsupported()` says
what of them this torch lacks.
"""

from __future__ import annotations

import itertools
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
Clock = dict[int, int]
"""By stream, how much of what was launched on it is known to be done before."""

_PRIVATE = ("_ensureCUDADeviceGuardSet", "_only_lift_cpu_tensors", "_set_only_lift_cpu_tensors")
# What needs a number from the device before the host can go on.
_WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select", "aten::is_nonzero"}


def unsupported() -> str | None:
    """Why the simulator cannot run with this torch; None where it can."""
    lacking = [name for name in _PRIVATE if not hasattr(torch._C, name)]
    return f"torch {torch.__version__} lacks {', '.join(lacking)}" if lacking else None


def _later(first: Clock, second: Clock) -> None:
    """Brings the first clock up to the second."""
    for stream, count in second.items():
        first[stream] = max(first.get(stream, 0), count)


def _place() -> str:
    """The lines of the program that led here, the innermost first."""
    lines = [each for each in traceback.extract_stack() if "/sapiens_stream/" in each.filename]
    return " < ".join(f"{each.filename.rsplit('/', 1)[1]}:{each.lineno}" for each in lines[:-4:-1]) or "the test"


@dataclass(frozen=True)
class Access:
    """Of memory, by a stream: the count of its clock, and where in the program."""

    stream: Stream
    count: int
    place: str

    def done_before(self, clock: Clock) -> bool:
        return clock.get(self.stream.number, 0) >= self.count


@dataclass
class Memory:
    """A piece of memory, on a device or pinned on the host, and who touched it last."""

    allocated: Stream | None
    place: str
    written: Access | None = None
    read: dict[int, Access] = field(default_factory=dict)
    """By stream."""
    recorded: set[int] = field(default_factory=set)
    """The streams that the allocator was told of by `record_stream`."""

    @property
    def accesses(self) -> list[Access]:
        return [*self.read.values(), *([self.written] if self.written else [])]

    def conflicts(self, clock: Clock, *, write: bool) -> list[Access]:
        """The earlier accesses that are not ordered before one at that clock."""
        before = self.accesses if write else [self.written] if self.written else []
        return [each for each in before if not each.done_before(clock)]

    def note(self, access: Access, *, write: bool) -> None:
        if write:
            self.written, self.read = access, {}
        else:
            self.read[access.stream.number] = access


@dataclass(frozen=True)
class Wait:
    """The host waited for the device: why, and what it knew to be done afterwards."""

    reason: str
    place: str
    known: Clock


class SimulatedCuda:
    """The state of the devices, and what went wrong: `problems`, a sentence each."""

    def __init__(self, devices: int) -> None:
        self.devices = devices
        self.problems: list[str] = []
        self.waits: list[Wait] = []
        self.launches: list[tuple[str, str]] = []
        """The operator and the name of its stream, in the order of launching."""
        self.contexts: dict[int, str] = {}
        """The devices that memory was taken on, and where they were first touched."""
        self.host: Clock = {}
        """What the host knows to be done."""
        self.pinned: dict[int, Memory] = {}
        """By the address of its storage."""
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._thread = threading.local()
        self._default = {index: Stream(index, name=f"default:{index}", cuda=self) for index in range(devices)}

    # The state of a thread
    @property
    def device(self) -> int:
        return int(getattr(self._thread, "device", 0))

    @device.setter
    def device(self, index: int) -> None:
        self._thread.device = index

    def current(self, device: int | None = None) -> Stream:
        index = self.device if device is None else device
        streams: dict[int, Stream] = self._thread.__dict__.setdefault("streams", {})
        return streams.get(index, self._default[index])

    def set_current(self, stream: Stream) -> None:
        """As `torch.cuda.set_stream`: goes to the stream's device too, which opens it."""
        if stream.device.index != self.device:
            self.device = stream.device.index
            self.open(self.device)
        self._thread.__dict__.setdefault("streams", {})[stream.device.index] = stream

    def enter_thread(self) -> None:
        """Lets this thread make tensors on the devices, for as long as it lives."""
        torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
        _Mode(self).__enter__()

    # What the program did
    def open(self, device: int) -> None:
        self.contexts.setdefault(device, _place())

    def problem(self, sentence: str) -> None:
        if sentence not in self.problems:
            self.problems.append(sentence)

    def number(self) -> int:
        return next(self._numbers)

    def wait_for(self, clock: Clock, reason: str) -> None:
        """The host waits until all of the clock is done."""
        with self.lock:
            _later(self.host, clock)
            self.waits.append(Wait(reason, _place(), dict(self.host)))

    def launch(self, operator: str, stream: Stream) -> Access:
        """Counts an operator on its stream; it comes after what the host has waited for."""
        self.open(stream.device.index)
        _later(stream.clock, self.host)
        stream.clock[stream.number] = stream.clock.get(stream.number, 0) + 1
        self.launches.append((operator, stream.name))
        return Access(stream, stream.clock[stream.number], _place())

    def touch(self, memory: Memory, access: Access, operator: str, *, write: bool) -> None:
        """A stream reads or writes memory of a device."""
        for each in memory.conflicts(access.stream.clock, write=write):
            verb = "writes" if write else "reads"
            self.problem(
                f"race: {operator} on {access.stream.name} at {access.place} {verb} what {each.stream.name} at"
                f" {each.place} may still use"
            )
        memory.note(access, write=write)

    def touch_from_host(self, storage: int, reason: str, *, write: bool) -> None:
        """The host reads or writes memory that may be pinned."""
        memory = self.pinned.get(storage)
        for each in memory.conflicts(self.host, write=write) if memory else ():
            verb = "writes" if write else "reads"
            self.problem(
                f"the host {verb} pinned memory, by {reason} at {_place()}, that {each.stream.name} may still use"
            )

    def freed(self, memory: Memory) -> None:
        """The allocator may hand the memory to the next who asks on the stream it was allocated on."""
        assert memory.allocated is not None
        known = dict(memory.allocated.clock)
        _later(known, self.host)
        for each in memory.accesses:
            own = each.stream is memory.allocated
            if not own and each.stream.number not in memory.recorded and not each.done_before(known):
                self.problem(
                    f"use after free: memory of {memory.allocated.name}, from {memory.place}, is freed at {_place()}"
                    f" while {each.stream.name} at {each.place} may still use it"
                )


class Stream:
    """In the place of torch.cuda.Stream."""

    def __init__(
        self,
        device: torch.device | int | None = None,
        priority: int = 0,
        *,
        name: str | None = None,
        cuda: SimulatedCuda | None = None,
    ) -> None:
        self.cuda = cuda or _installed()
        index = device.index if isinstance(device, torch.device) else device
        self.device = torch.device("cuda", self.cuda.device if index is None else index)
        self.priority = priority
        self.number = self.cuda.number()
        self.cuda_stream = self.number
        self.name = name or f"stream:{self.number}"
        self.clock: Clock = {}
        if name is None:
            self.cuda.open(self.device.index)

    def wait_event(self, event: Event) -> None:
        with self.cuda.lock:
            _later(self.clock, event.clock)

    def synchronize(self) -> None:
        self.cuda.wait_for(self.clock, f"Stream.synchronize({self.name})")


class Event:
    """In the place of torch.cuda.Event."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        self.timing, self.blocking = enable_timing, blocking
        self.clock: Clock = {}
        self.stream: Stream | None = None

    def record(self, stream: Stream | None = None) -> None:
        cuda = _installed()
        with cuda.lock:
            self.stream = stream or cuda.current()
            cuda.open(self.stream.device.index)
            _later(self.stream.clock, cuda.host)
            self.clock = dict(self.stream.clock)

    def synchronize(self) -> None:
        if self.stream is not None:
            _installed().wait_for(self.clock, f"Event.synchronize({self.stream.name})")

    def elapsed_time(self, end: Event) -> float:
        host = _installed().host
        for each in (self, end):
            if not each.timing or each.stream is None:
                raise RuntimeError("the event is not recorded, or not with timing")
            if host.get(each.stream.number, 0) < each.clock.get(each.stream.number, 0):
                raise RuntimeError("the event is not done")
        return 1.0


class _StreamContext:
    """In the place of torch.cuda.stream: leaving it goes back to the stream before, and so to its device."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        cuda = self._stream.cuda
        self._before = cuda.current()
        self._of_device = cuda.current(self._stream.device.index)
        cuda.set_current(self._stream)

    def __exit__(self, *_: object) -> None:
        self._stream.cuda.set_current(self._of_device)
        self._stream.cuda.set_current(self._before)


class DeviceTensor(torch.Tensor):
    """A tensor that says it is on a device; its numbers are in `inner`, on the CPU."""

    inner: torch.Tensor
    memory: Memory

    @staticmethod
    def __new__(cls, inner: torch.Tensor, device: torch.device, owner: _Owner) -> DeviceTensor:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined,no-any-return]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=device,
        )

    def __init__(self, inner: torch.Tensor, device: torch.device, owner: _Owner) -> None:
        self.inner, self.owner = inner, owner

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # These ask in C++ for a guard of the device, which a torch without CUDA lacks; their operators do not.
        if func is torch.Tensor.__getitem__:
            return _part(args[0], args[1])
        if func is torch.Tensor.__setitem__:
            part = _part(args[0], args[1])
            return aten.copy_(part, args[2]) if isinstance(args[2], torch.Tensor) else aten.fill_(part, args[2])
        if func is torch.Tensor.contiguous:
            return args[0] if args[0].is_contiguous() else aten.clone(args[0], memory_format=torch.contiguous_format)
        if func is torch.Tensor.copy_:
            return aten.copy_(*args, **(kwargs or {}))
        if func in (torch.Tensor.nonzero, torch.nonzero):
            return aten.nonzero(args[0])
        return super().__torch_function__(func, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with _Mode(_installed()):
            return func(*args, **(kwargs or {}))

    def __repr__(self) -> str:  # type: ignore[override]
        return f"DeviceTensor({tuple(self.shape)}, {self.dtype}, {self.device})"


def _part(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    """`tensor[index]`, of numbers, slices, None and "..."."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(each, torch.Tensor | list) for each in parts):
        raise NotImplementedError("the simulator does not index by tensors")
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        taken = sum(each is not None for each in parts) - 1
        parts[at : at + 1] = [slice(None)] * (tensor.dim() - taken)
    dim = 0
    for each in parts:
        if each is None:
            tensor = aten.unsqueeze(tensor, dim)
        elif isinstance(each, slice):
            if each != slice(None):
                tensor = aten.slice(tensor, dim, each.start, each.stop, each.step or 1)
        else:
            tensor = aten.select(tensor, dim, int(each))
            dim -= 1
        dim += 1
    return tensor


class _Owner:
    """Holds memory of a device as long as a tensor does; views share it."""

    def __init__(self, cuda: SimulatedCuda, stream: Stream) -> None:
        self.cuda = cuda
        self.memory = Memory(stream, _place())

    def __del__(self) -> None:
        with self.cuda.lock:
            self.cuda.freed(self.memory)


class _Mode(TorchDispatchMode):
    """Takes each operator: runs it on the CPU, and checks what it reads and writes against the clocks."""

    def __init__(self, cuda: SimulatedCuda) -> None:
        super().__init__()
        self._cuda = cuda

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func._schema.name == "aten::to" and func._can_decompose():
            with self:
                return func.decompose(*args, **kwargs)
        with self._cuda.lock:
            leaves = pytree.tree_leaves((args, kwargs))
            on_device = [each for each in leaves if isinstance(each, DeviceTensor)]
            wanted = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
            if wanted is not None and wanted.type == "cuda" and wanted.index is None:
                wanted = torch.device("cuda", self._cuda.device)
            if not on_device and (wanted is None or wanted.type != "cuda"):
                return self._on_host(func, args, kwargs, leaves)
            return self._on_device(func, args, kwargs, leaves, on_device, wanted)

    def _on_host(self, func: Any, args: Any, kwargs: dict[str, Any], leaves: list[Any]) -> Any:
        name = func._schema.name
        for each in leaves:
            if isinstance(each, torch.Tensor) and not name.startswith("aten::empty"):
                writes = any(_is(each, value) for value in _written(func, args, kwargs))
                if not _is_view(func):
                    self._cuda.touch_from_host(_storage(each), name, write=writes)
        pinned = kwargs.pop("pin_memory", False)
        result = func(*args, **kwargs)
        if pinned:
            self._cuda.pinned[_storage(result)] = Memory(None, _place())
        return result

    def _on_device(
        self,
        func: Any,
        args: Any,
        kwargs: dict[str, Any],
        leaves: list[Any],
        on_device: list[DeviceTensor],
        wanted: torch.device | None,
    ) -> Any:
        cuda, name = self._cuda, func._schema.name
        copies = name in ("aten::copy_", "aten::_to_copy")
        places = {each.device for each in on_device}
        host = [each for each in leaves if isinstance(each, torch.Tensor) and not isinstance(each, DeviceTensor)]
        if not copies and (len(places) > 1 or any(each.dim() for each in host)):
            raise RuntimeError(f"{name}: tensors on several devices, {places or {}} and {len(host)} on the host")
        # A copy runs on the device that it goes to, or comes from where it goes to the host.
        device = wanted if wanted is not None and wanted.type == "cuda" else next(iter(places))
        stream = cuda.current(device.index)
        to_host = (wanted is not None and wanted.type == "cpu") or (
            copies and name == "aten::copy_" and _is_host(args[0])
        )

        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        kwargs.pop("pin_memory", None)
        inner_args, inner_kwargs = pytree.tree_map(_inner, (args, kwargs))
        if name == "aten::_fused_sdp_choice":
            return 0
        out = func(*inner_args, **inner_kwargs)

        owners = {_storage(each.inner): each.owner for each in on_device}
        same = {id(each.inner): each for each in on_device}

        def wrapped(tensor: Any) -> Any:
            if not isinstance(tensor, torch.Tensor) or to_host:
                return tensor
            if id(tensor) in same:
                return same[id(tensor)]
            owner = owners.setdefault(_storage(tensor), _Owner(cuda, stream))
            return DeviceTensor(tensor, device, owner)

        before = set(owners)
        results = pytree.tree_map(wrapped, out)
        fresh = [owner for storage, owner in owners.items() if storage not in before]
        if _is_view(func) and not fresh:
            return results
        access = cuda.launch(name, stream)
        written = [each.owner for each in _written(func, args, kwargs) if isinstance(each, DeviceTensor)]
        for owner in {id(each.owner): each.owner for each in on_device}.values():
            cuda.touch(owner.memory, access, name, write=owner in written)
        for owner in fresh:
            owner.memory.note(access, write=True)
        non_blocking = bool(kwargs.get("non_blocking")) or (name == "aten::copy_" and len(args) > 2 and bool(args[2]))
        self._with_host(func, name, stream, access, host, out if to_host else None, args, non_blocking)
        if name in _WAITING:
            cuda.wait_for(stream.clock, name)
        return results

    def _with_host(
        self,
        func: Any,
        name: str,
        stream: Stream,
        access: Access,
        host: list[torch.Tensor],
        arrived: Any,
        args: Any,
        non_blocking: bool,
    ) -> None:
        """The host's side of a copy: pinned memory is the device's until the copy is done; else the host waits."""
        if name not in ("aten::copy_", "aten::_to_copy"):
            return
        for each in host:
            memory = self._cuda.pinned.get(_storage(each))
            if memory is not None and non_blocking:
                memory.note(access, write=name == "aten::copy_" and each is args[0])
            else:
                self._cuda.wait_for(stream.clock, f"{name} of ordinary memory")
        if isinstance(arrived, torch.Tensor) and not any(arrived is each for each in host):
            self._cuda.wait_for(stream.clock, f"{name} to the host")


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, DeviceTensor) else value


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _is_host(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, DeviceTensor)


def _is(tensor: torch.Tensor, value: Any) -> bool:
    return any(each is tensor for each in pytree.tree_leaves(value))


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that an operator writes into, by its schema."""
    named = list(zip(func._schema.arguments, args, strict=False))
    named += [(each, kwargs[each.name]) for each in func._schema.arguments if each.name in kwargs]
    written = [value for argument, value in named if argument.alias_info is not None and argument.alias_info.is_write]
    return pytree.tree_leaves(written)


def _is_view(func: Any) -> bool:
    """Whether its results are other ways to see its arguments, by its schema."""
    return any(each.alias_info is not None and not each.alias_info.is_write for each in func._schema.returns)


_current: SimulatedCuda | None = None


def _installed() -> SimulatedCuda:
    assert _current is not None, "used outside of simulated_cuda()"
    return _current


@contextmanager
def simulated_cuda(devices: int = 1) -> Iterator[SimulatedCuda]:
    """Puts the simulated devices in the place of torch.cuda's, and lets this thread make tensors on them."""
    global _current
    _current = cuda = SimulatedCuda(devices)
    undo: list[Callable[[], None]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        before = getattr(owner, name)
        setattr(owner, name, value)
        undo.append(lambda: setattr(owner, name, before))

    def synchronize(device: Any = None) -> None:
        everything: Clock = {}
        for each in list(streams):
            _later(everything, each.clock)
        cuda.wait_for(everything, "torch.cuda.synchronize")

    streams: list[Stream] = list(cuda._default.values())

    class Listed(Stream):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            streams.append(self)

    def set_device(device: Any) -> None:
        cuda.device = torch.device(device).index or 0
        cuda.open(cuda.device)

    def numpy(self: torch.Tensor, **kwargs: Any) -> Any:
        cuda.touch_from_host(_storage(self), "numpy()", write=True)
        return plain_numpy(self, **kwargs)

    plain_numpy = torch.Tensor.numpy
    torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
    lift = torch._C._only_lift_cpu_tensors()  # type: ignore[attr-defined]
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    undo.append(lambda: torch._C._set_only_lift_cpu_tensors(lift))  # type: ignore[attr-defined]
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    undo.append(lambda: torch.__future__.set_overwrite_module_params_on_conversion(overwrite))
    # Views of inference tensors share a version counter, which wrappers have not; no_grad computes the same.
    put(torch.inference_mode, "__enter__", _enter_no_grad)
    put(torch.inference_mode, "__exit__", _leave_no_grad)
    for name, value in {
        "_lazy_init": lambda: None,
        "Stream": Listed,
        "Event": Event,
        "stream": _StreamContext,
        "current_stream": lambda device=None: cuda.current(None if device is None else torch.device(device).index),
        "default_stream": lambda device=None: cuda._default[torch.device(device).index or 0],
        "set_device": set_device,
        "current_device": lambda: cuda.device,
        "synchronize": synchronize,
        "empty_cache": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: devices,
        "get_device_capability": lambda device=None: (9, 0),
        "mem_get_info": lambda device=None: (70 << 30, 80 << 30),
        "memory_reserved": lambda device=None: 0,
        "max_memory_reserved": lambda device=None: 0,
    }.items():
        put(torch.cuda, name, value)
    put(torch.Tensor, "record_stream", lambda self, stream: self.owner.memory.recorded.add(stream.number))
    put(torch.Tensor, "numpy", numpy)
    try:
        with _Mode(cuda):
            yield cuda
    finally:
        while undo:
            undo.pop()()


def _enter_no_grad(self: Any) -> None:
    self._grad_was = torch.is_grad_enabled()
    torch.set_grad_enabled(False)


def _leave_no_grad(self: Any, *_: object) -> None:
    torch.set_grad_enabled(self._grad_was)
