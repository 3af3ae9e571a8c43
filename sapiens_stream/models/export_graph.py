"""The graph of a torch.export program, as it is run: operator by operator, in the order that they stand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Made:
    """What an earlier step has made."""

    name: str


class Here:
    """The device that the graph runs on, wherever it was exported."""


@dataclass(frozen=True)
class Step:
    """An operator, and what it is called with."""

    call: Callable[..., Any]
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    results: tuple[Any, ...]
    """For each result its name, a tuple of names, or None."""
    done_with: tuple[str, ...]
    """Values that no later step takes."""


@dataclass(frozen=True, kw_only=True)
class ExportGraph:
    """A program. `pixels` is the size of its one input, None where it is free, `most` its largest batch if bounded."""

    steps: Sequence[Step]
    tensors: Mapping[str, torch.Tensor]
    input: str
    outputs: Sequence[str]
    pixels: tuple[int | None, ...]
    dtype: torch.dtype
    most: int | None

    def on(self, device: torch.device) -> Callable[[torch.Tensor], list[Any]]:
        """Runs the program on a device."""
        tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}

        def run(pixels: torch.Tensor) -> list[Any]:
            values: dict[str, Any] = {**tensors, self.input: pixels}
            for step in self.steps:
                args = [_filled(each, values, device) for each in step.args]
                options = {name: _filled(each, values, device) for name, each in step.options.items()}
                _keep(step, step.call(*args, **options), values)
                for name in step.done_with:
                    values.pop(name, None)
            return [values[name] for name in self.outputs]

        return run


def _keep(step: Step, made: Any, values: dict[str, Any]) -> None:
    results = (made,) if len(step.results) == 1 else made or ()
    for name, value in zip(step.results, results, strict=bool(step.results)):
        if isinstance(name, tuple):
            values.update(zip(name, value, strict=True))
        elif name is not None:
            values[name] = value


def _filled(argument: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    if isinstance(argument, Made):
        return values[argument.name]
    if isinstance(argument, list):
        return [_filled(each, values, device) for each in argument]
    return device if isinstance(argument, Here) else argument
