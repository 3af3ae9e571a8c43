"""The graph in a torch.export program, read from its JSON.

torch.export.load would unpickle what it finds, evaluate the file's expressions and compile its guards; none of that is
needed to run tensor operators in the order that they stand in.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from sapiens_stream.models.archive import Archive
from sapiens_stream.models.export_graph import ExportGraph, Here, Made, Step
from sapiens_stream.models.operators import allowed
from sapiens_stream.models.pickles import is_plain
from sapiens_stream.models.script_source import ForeignError
from sapiens_stream.models.weights import EXPORT_DTYPES, exported_tensors

SCHEMA = 8
"""The major version of the JSON that is understood."""
LARGEST = 1 << 62
"""Of the numbers that sizes are computed with."""

_GRAPH = re.compile(r"([^/]+/models/[^/]+|serialized_exported_program)\.json$")  # torch 2.8 and later, and before
_SAMPLE = re.compile(r"/sample_inputs/[^/]+$")
_SYMBOL = re.compile(r"(?:Symbol\(')?([suz]+\d+)(?:', [\w=, ]*\))?")
_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
_STRIDED = 7
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge")
} | {
    "math.floor": math.floor,
    "math.ceil": math.ceil,
    "math.trunc": math.trunc,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_not": operator.not_,
}
# Sizes are written for sympy to evaluate; nobody does so here, but whoever writes more than that means harm.
_EXPRESSION = re.compile(r"(?!.*__)(?!.*\.\s*[A-Za-z_])[\w\s+\-*/%(),.=<>']*")


def read_graph(archive: Archive) -> ExportGraph:
    """The one program in an archive.

    Raises ForeignError for an operator or expression that is more than tensor operations, OldError for another version
    of the format, and KeyError, ValueError, TypeError or the like for a damaged file.
    """
    [name] = (name for name in archive.names if _GRAPH.match(name))
    told = json.loads(archive.read(name))
    _require_harmless(told)
    for sample in (each for each in archive.names if _SAMPLE.search(each)):
        _require_tensors(Archive(archive.member(sample)))
    version = told["schema_version"]
    if not isinstance(version, dict) or version["major"] != SCHEMA or "/" not in name:
        raise OldError(str(told.get("torch_version") or "another version"))
    module = told["graph_module"]
    graph, signature = module["graph"], module["signature"]
    held = dict(exported_tensors(archive))
    tensors: dict[str, torch.Tensor] = {}
    inputs: list[str] = []
    for spec in signature["input_specs"]:
        [(kind, entry)] = spec.items()
        if kind == "user_input":
            inputs.append(entry["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            tensors[entry["arg"]["name"]] = held[entry[f"{kind}_name"]]
        else:
            raise ForeignError(f"an input that is a {kind}")
    if len(inputs) != 1:
        raise InputsError(f"takes {len(inputs)} inputs, not one batch of pictures (N, 3, height, width)")
    outputs = [
        spec["user_output"]["arg"]["as_tensor"]["name"]
        for spec in signature["output_specs"]
        if "as_tensor" in spec.get("user_output", {}).get("arg", {})
    ]
    meta = graph["tensor_values"][inputs[0]]
    return ExportGraph(
        steps=_steps(graph["nodes"], outputs),
        tensors=tensors,
        input=inputs[0],
        outputs=outputs,
        pixels=tuple(length.get("as_int") for length in meta["sizes"]),
        dtype=EXPORT_DTYPES[meta["dtype"]],
        most=_most(meta["sizes"][0], told.get("range_constraints", {})) if meta["sizes"] else None,
    )


class OldError(Exception):
    """Says which torch wrote a file in a version of the format that is not understood."""


class InputsError(Exception):
    """A program that takes something else than one batch."""


def _steps(nodes: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> list[Step]:
    last = {name: len(nodes) for name in outputs}
    for index, node in enumerate(nodes):
        last.update({name: index for name in _names([*node["inputs"], *node["outputs"]]) if name not in outputs})
    done: dict[int, list[str]] = {}
    for name, index in last.items():
        done.setdefault(index, []).append(name)
    return [_step(node, tuple(done.get(index, ()))) for index, node in enumerate(nodes)]


def _names(node: Any) -> list[str]:
    """Every value that part of the JSON mentions."""
    if isinstance(node, list):
        return [name for each in node for name in _names(each)]
    if isinstance(node, dict):
        own = [value for key, value in node.items() if key in ("name", "as_name") and isinstance(value, str)]
        return own + [name for value in node.values() for name in _names(value)]
    return []


def _step(node: Mapping[str, Any], done_with: tuple[str, ...]) -> Step:
    target = str(node["target"])
    call = _ARITHMETIC.get(target)
    if call is not None:
        return Step(
            _bounded(call), tuple(_argument(each["arg"]) for each in node["inputs"]), {}, _results(node), done_with
        )
    found = re.fullmatch(r"torch\.ops\.(aten)\.(\w+)\.(\w+)", target)
    if found is None or not allowed(f"{found[1]}::{found[2]}.{found[3]}"):
        raise ForeignError(target)
    overload = getattr(getattr(torch.ops.aten, found[2]), found[3])
    args = tuple(_argument(each["arg"]) for each in node["inputs"] if each.get("kind") == 1)
    options = {str(each["name"]): _argument(each["arg"]) for each in node["inputs"] if each.get("kind") != 1}
    return Step(overload, args, options, _results(node), done_with)


def _bounded(call: Callable[..., Any]) -> Callable[..., Any]:
    """Arithmetic whose numbers cannot grow without end."""

    def compute(*numbers: Any) -> Any:
        result = call(*numbers)
        if abs(result) > LARGEST:
            raise ValueError(f"a size of more than {LARGEST}")
        return result

    return compute


def _results(node: Mapping[str, Any]) -> tuple[Any, ...]:
    results: list[Any] = []
    for each in node["outputs"]:
        [(kind, value)] = each.items()
        if kind == "as_tensors":
            results.append(tuple(one["name"] for one in value))
        elif kind == "as_none":
            results.append(None)
        else:
            results.append(value["name"] if kind == "as_tensor" else value["as_name"])
    return tuple(results)


def _argument(told: Mapping[str, Any]) -> Any:
    """An argument, with `Made` for what a step has made."""
    [(kind, value)] = told.items()
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return Made(value["name"])
        case "as_sym_int" | "as_sym_float" | "as_sym_bool" | "as_optional_tensor":
            return _either(value)
        case "as_tensors":
            return [Made(each["name"]) for each in value]
        case "as_sym_ints" | "as_sym_floats" | "as_sym_bools" | "as_optional_tensors":
            return [_either(each) for each in value]
        case "as_int" | "as_ints" | "as_bool" | "as_bools" | "as_string" | "as_int_lists":
            return value
        case "as_float":
            return float(value)
        case "as_floats":
            return [float(each) for each in value]
        case "as_scalar_type":
            return EXPORT_DTYPES[value]
        case "as_memory_format":
            return _FORMATS[value]
        case "as_device":
            return Here()
        case "as_layout" if value == _STRIDED:
            return torch.strided
    raise ForeignError(f"an argument that is a {kind.removeprefix('as_')}")


def _either(told: Mapping[str, Any]) -> Any:
    """A number that is known or one that is computed, a tensor or none."""
    [(kind, value)] = told.items()
    if kind == "as_name":
        return Made(value)
    return _argument(told)


def _most(length: Mapping[str, Any], ranges: Mapping[str, Any]) -> int | None:
    """The largest batch that the program accepts; None if it has no bound."""
    symbol = _SYMBOL.fullmatch(str(length.get("as_expr", {}).get("expr_str")))
    upper = ranges.get(symbol[1], {}).get("max_val") if symbol else None
    return int(upper) if isinstance(upper, int) and upper < 1 << 31 else None


def _require_tensors(archive: Archive) -> None:
    """Of the inputs that the program was exported with, which are not used here; torch.export unpickles them."""
    [record] = (name for name in archive.names if name.partition("/")[2] == "data.pkl")
    if not is_plain(archive.unpickle(record)):
        raise ValueError("sample inputs that are no tensors")


def _require_harmless(told: Any) -> None:
    nodes = [told]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            expression = str(node.get("expr_str", ""))
            if not _EXPRESSION.fullmatch(expression):
                raise ForeignError(expression)
            nodes += node.values()
