"""Models written as files that run elsewhere: TorchScript, torch.export, ONNX."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from sapiens_stream.disk import free_bytes
from sapiens_stream.errors import ModelError, OutputError, UsageError, cause
from sapiens_stream.install_line import install_line
from sapiens_stream.models.hub import amount
from sapiens_stream.models.interface import last_line, quiet_torch
from sapiens_stream.models.manifest import NAME, as_text, manifest
from sapiens_stream.models.model import Model

Target = Literal["torchscript", "torch-export", "onnx"]
TARGETS: tuple[Target, ...] = get_args(Target)

_GRAPH_BYTES = 1 << 20  # beside the weights, and more than any takes

Save = Callable[[Path], None]


def export_model(
    model: Model, to: Target, file: Path, *, dtype: torch.dtype = torch.float32, batch: int | None = None
) -> None:
    """Writes the model's graph and weights to `file`.

    The graph takes `pixels`, (N, 3, height, width) in `dtype`, normalised as `model.input` says, and returns `logits`,
    (N, C, h, w). Normalisation is not in the graph; the file says it in words, as `manifest` does. N is free, or the
    given `batch` alone. An ONNX graph of more than 2 GB has its weights beside it, in `file` + ".data".

    Raises ModelError for a model that runs as a graph of its own format, or cannot be expressed in that; UsageError
    for an impossible batch, and where libraries are missing; OutputError where the file cannot be written. Nothing is
    left of a file not finished.
    """
    if batch is not None and (to == "torchscript" or batch < 1):
        why = "a TorchScript file takes any" if to == "torchscript" else "it is 1 or more"
        raise UsageError(f"a batch of {batch} alone: {why}")
    if to == "onnx" and find_spec("onnxscript") is None:
        raise UsageError(f"writing ONNX takes libraries that are not installed: {install_line('onnx')}")
    build = {"torchscript": _torchscript, "torch-export": _torch_export, "onnx": _onnx}[to]
    with _written_aside(file) as aside, quiet_torch():
        network = model.place(torch.device("cpu"), dtype)
        if not isinstance(network, nn.Module):
            raise ModelError(f"{model.name} is a graph ({model.kind}), which runs as it is and can be no other")
        _require_space(file, network)
        example = torch.zeros(batch or 2, 3, model.input.height, model.input.width, dtype=dtype)
        try:
            with torch.no_grad():
                save = build(network, example, batch is None, manifest(model))
        except Exception as error:  # of any kind: an exporter fails wherever it meets what it does not know
            precision = str(dtype).removeprefix("torch.")
            raise ModelError(f"{model.name} cannot be written as {to} in {precision}: {last_line(error)}") from error
        save(aside)


def _torchscript(network: nn.Module, example: torch.Tensor, _free: bool, facts: Mapping[str, str]) -> Save:
    # Tracing by itself would run the network thrice more to check; the shapes it branches on do not vary.
    script = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
    return lambda path: torch.jit.save(script, path, _extra_files={NAME: as_text(dict(facts))})


def _torch_export(network: nn.Module, example: torch.Tensor, free: bool, facts: Mapping[str, str]) -> Save:
    program = torch.export.export(network, (example,), dynamic_shapes=_dynamic(free))
    return lambda path: torch.export.save(program, path, extra_files={NAME: as_text(dict(facts))})


def _onnx(network: nn.Module, example: torch.Tensor, free: bool, facts: Mapping[str, str]) -> Save:
    for layer in network.modules():
        if isinstance(layer, (nn.ReLU, nn.ReLU6)):
            layer.inplace = False  # ONNX has no writing in place: each would become nodes that copy
    program = torch.onnx.export(
        network,
        (example,),
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_shapes=_dynamic(free),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update(facts)
    return lambda path: program.save(path)


def _dynamic(free: bool) -> tuple[dict[int, Any]] | None:
    return ({0: torch.export.Dim("batch", min=1)},) if free else None


def _require_space(file: Path, network: nn.Module) -> None:
    """Torch's writer ends the whole program where the disk fills up under it."""
    weights = sum(each.nbytes for each in network.state_dict().values())
    needed, free = weights + _GRAPH_BYTES, free_bytes(file.parent)
    if free is not None and free < needed:
        raise OutputError(f"{file} can't be written: it takes {amount(needed)}, and {amount(free)} are free")


@contextmanager
def _written_aside(file: Path) -> Iterator[Path]:
    """Gives a path of the same name in a folder beside `file`; what is written there is moved at the end of the block.

    A folder, since an ONNX graph names the file of its weights, which therefore keeps its name. Folders made for a file
    that does not come are removed.
    """
    folder = file.with_name(f".{file.name}.part")
    missing = [each for each in file.parents if not each.exists()]
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder / file.name
        for written in sorted(folder.iterdir(), key=lambda each: each.name == file.name):  # the graph last
            written.replace(file.with_name(written.name))
    except (OSError, RuntimeError) as error:  # torch's writer raises the second
        raise OutputError(f"{file} can't be written: {cause(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for each in missing:
            with suppress(OSError):  # it is not empty, or never came to be
                each.rmdir()
