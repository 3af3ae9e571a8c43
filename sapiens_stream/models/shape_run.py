"""A graph run on shapes alone: nothing is computed, and what computing would take is known before it is begun."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from sapiens_stream.errors import ModelError

KNOWN_BYTES = 8 << 10
"""Up to which a tensor's numbers are known and not its shape alone: sizes are computed in tensors here and there."""
BYTES_A_PIXEL = 8 << 10
"""Of memory at a time. Sapiens-2B with its attention written out takes half of it in fp32."""
BYTES_ANYWAY = 1 << 30
WORK_A_PIXEL = 300_000_000
"""Operations. The largest of the published models takes a sixth."""
WORK_ANYWAY = 10**12
WORK_AN_ELEMENT = 20
"""Operations of a matrix product that take as long as reading or writing a number."""
MOST_STEPS = 200_000

META = torch.device("meta")
_aten = torch.ops.aten
_ONE_DTYPE = {
    *(_aten.convolution, _aten.conv2d, _aten.conv_transpose2d, _aten.linear),
    *(_aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm, _aten.matmul),
}
"""What refuses numbers of two types; on shapes alone torch lets some pass."""
_UNKNOWN = {
    *(_aten.empty, _aten.empty_like, _aten.new_empty, _aten.empty_strided, _aten.new_empty_strided),
    *(_aten.rand, _aten.rand_like, _aten.randn, _aten.randn_like, _aten.bernoulli, _aten.bernoulli_),
    *(_aten.native_dropout, _aten.uniform_, _aten.normal_, _aten.random_),
}
"""What gives other numbers each time."""
_CONVOLUTION_ARGUMENTS = 9
"""Of `_convolution`, which TorchScript calls, those of `convolution`: the rest say how a device is to compute it, and
some versions of torch give it no shapes."""
_PARTS = {_aten.unbind, _aten.split, _aten.chunk, _aten.tensor_split, _aten.unsafe_split, _aten.unsafe_chunk}
_READS = {_aten._local_scalar_dense, _aten.item, _aten.is_nonzero, _aten.equal, _aten.nonzero}
_Size = tuple[int, int, int, int]


class RefusedError(ModelError):
    """A graph that would do more than a network does."""


def run_on_shapes(forward: Callable[[torch.Tensor], Any], size: _Size, dtype: torch.dtype) -> Any:
    """What `forward` returns for pixels of `size` (N, C, H, W), its tensors having shapes and no content.

    Raises RefusedError where it would take more memory or time than a network of this input has use for, or where what
    it does depends on what is in the picture; and what the graph itself raises where it does not take such pixels.
    """
    shapes = _Shapes(size[0] * size[2] * size[3])
    try:
        with torch.inference_mode(False), torch.no_grad(), _unoptimised(), shapes:
            return forward(torch.empty(size, dtype=dtype, device=META))
    except RuntimeError as error:
        if shapes.refusal is not None:  # of which TorchScript keeps the place alone
            raise shapes.refusal from error
        raise


class ShapeRuns:
    """Runs a graph on the shapes of each size of batch once, before it is run on it."""

    def __init__(self, forward: Callable[[torch.Tensor], Any]) -> None:
        self._forward = forward
        self._seen: set[tuple[torch.Size, torch.dtype]] = set()

    def require(self, pixels: torch.Tensor) -> None:
        """Raises RefusedError for pixels of which the graph would make too much, and what the graph itself raises."""
        key = (pixels.shape, pixels.dtype)
        if key not in self._seen:
            batch, channels, height, width = pixels.shape
            run_on_shapes(self._forward, (batch, channels, height, width), pixels.dtype)
            self._seen.add(key)


class _Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs each operator on meta tensors, but for those whose numbers are few and known."""

    def __init__(self, pixels: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._most_bytes = BYTES_ANYWAY + BYTES_A_PIXEL * pixels
        self._most_work = WORK_ANYWAY + WORK_A_PIXEL * pixels
        self.refusal: RefusedError | None = None
        self._steps = 0
        self._work = 0
        self._bytes = 0
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return self._run(func, args, kwargs or {})
        except RefusedError as refusal:
            self.refusal = refusal
            raise

    def _run(self, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        if func.overloadpacket is _aten._convolution:
            func, args, options = _aten.convolution.default, args[:_CONVOLUTION_ARGUMENTS], {}
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise RefusedError(f"runs more than {MOST_STEPS} operators")
        given = [each for each in tree_leaves((args, options)) if isinstance(each, torch.Tensor)]
        unknown = func.overloadpacket in _UNKNOWN or any(each.device == META or not _known(each) for each in given)
        if unknown and (name := _overwritten(func, args)):
            raise RefusedError(f"puts what it computes into a number that it made before ({name})")
        _require_one_dtype(func, given)
        if func.overloadpacket in _PARTS and max(given[0].shape, default=0) > MOST_STEPS:
            raise RefusedError(f"splits a tensor of {max(given[0].shape)} rows")
        try:
            result = func(*tree_map(_as_shape, args), **tree_map(_as_shape, options), **_on_meta(func, args, options))
        except RuntimeError as error:
            if given and not unknown:
                return func(*args, **options)  # depends on numbers, which are known
            if func.overloadpacket in _READS:
                raise RefusedError("decides by what is in the picture, so that its cost cannot be known") from error
            raise
        self._count(func, args, options, given, result)
        if not unknown and all(_known(each) for each in tree_leaves(result) if isinstance(each, torch.Tensor)):
            return func(*args, **options)
        return result

    def _count(
        self, func: Any, args: Sequence[Any], options: Mapping[str, Any], given: Sequence[torch.Tensor], result: Any
    ) -> None:
        made = [each for each in tree_leaves(result) if isinstance(each, torch.Tensor)]
        formula = flop_registry.get(func.overloadpacket)
        self._work += WORK_AN_ELEMENT * sum(each.numel() for each in (*given, *made))
        if formula is not None:
            self._work += int(formula(*args, **options, out_val=result))
        elif "_pool" in func.overloadpacket.__name__ and len(args) > 1 and isinstance(args[1], Sequence):
            self._work += WORK_AN_ELEMENT * math.prod(args[1]) * sum(each.numel() for each in made)
        if self._work > self._most_work:
            raise RefusedError(f"takes more than {self._most_work:.1e} operations, which no network of its input does")
        for each in made:
            storage = each.untyped_storage()
            if storage._cdata not in self._storages or _gone(self._storages[storage._cdata][0]):
                self._storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())  # type: ignore[no-untyped-call]
                self._bytes += storage.nbytes()
        if self._bytes > self._most_bytes:
            held = {key: (place, size) for key, (place, size) in self._storages.items() if not _gone(place)}
            self._storages, self._bytes = held, sum(size for _, size in held.values())
        if self._bytes > self._most_bytes:
            raise RefusedError(
                f"takes {self._bytes / 1e9:.1f} GB of memory at a time, which no network of its input does"
                f" (at most {self._most_bytes / 1e9:.1f})"
            )


def _gone(storage: StorageWeakRef) -> bool:
    return bool(storage.expired())  # type: ignore[no-untyped-call]


def _unoptimised() -> AbstractContextManager[None]:
    """Keeps TorchScript from fitting a graph to meta tensors."""
    return torch.jit.optimized_execution(False)  # type: ignore[attr-defined]


def _known(tensor: torch.Tensor) -> bool:
    """Whether it is so small that its numbers are kept, wherever the result of this run puts it."""
    return max(tensor.numel(), tensor.untyped_storage().nbytes()) <= KNOWN_BYTES


def _as_shape(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(META)
    return META if isinstance(value, torch.device) else value


def _on_meta(func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> dict[str, torch.device]:
    """The argument that has a tensor made on the meta device, for an operator that makes one wherever it is told."""
    names = [each.name for each in func._schema.arguments]
    open_ = "device" in names and names.index("device") >= len(args) and options.get("device") is None
    return {"device": META} if open_ and "device" not in options else {}


def _overwritten(func: Any, args: Sequence[Any]) -> str | None:
    """The operator's name, if it writes to a tensor whose numbers were known."""
    for argument, value in zip(func._schema.arguments, args, strict=False):
        written = argument.alias_info is not None and argument.alias_info.is_write
        if written and isinstance(value, torch.Tensor) and value.device != META and _known(value):
            return str(func.overloadpacket.__name__)
    return None


def _require_one_dtype(func: Any, given: Sequence[torch.Tensor]) -> None:
    kinds = {each.dtype for each in given if each.is_floating_point()}
    if func.overloadpacket in _ONE_DTYPE and len(kinds) > 1:
        raise RuntimeError(f"expected one type of number but found {' and '.join(sorted(map(str, kinds)))}")
