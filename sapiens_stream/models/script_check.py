"""Whether the code of a TorchScript file may be loaded and run: what it calls, and how often each of it can run."""

from __future__ import annotations

import math

from sapiens_stream.models.script_bounds import Bounds
from sapiens_stream.models.script_function import ScriptFunction
from sapiens_stream.models.script_source import ForeignError, ScriptCode

MOST_STEPS = 200_000
"""Expressions that a call may evaluate, loops and calls included."""
MOST_APPENDED = 1000
"""Elements that a list may get one by one."""


def check_code(code: ScriptCode) -> None:
    """Raises ForeignError, by name, for whatever is more than tensor operators and loops of a known bound."""
    functions = {name: ScriptFunction(name, body, code) for name, body in code.bodies()}
    for each in functions.values():
        each.read()
    bounds = Bounds(functions)
    costs: dict[str, int] = {}
    for name in functions:
        _cost(name, functions, bounds, costs)


def _cost(name: str, functions: dict[str, ScriptFunction], bounds: Bounds, costs: dict[str, int]) -> int:
    """Expressions that a call of the function evaluates at most."""
    if name not in costs:
        costs[name] = -1
        total = 0
        for step in functions[name].steps:
            times = 1
            for loop in step.loops:
                times *= bounds.integer(loop, functions[name])
            inner = 0 if step.callee is None else _cost(step.callee, functions, bounds, costs)
            if inner < 0:
                raise ForeignError(f"{step.callee}, which calls itself")
            total += times * (1 + inner)
            if total > MOST_STEPS:
                raise ForeignError(f"{name}, which takes more than {MOST_STEPS} steps")
        for each in functions[name].appended.values():
            trips = [math.prod(bounds.integer(loop, functions[name]) for loop in loops) for loops in each]
            if sum(trips) > MOST_APPENDED:
                raise ForeignError(f"{name}, which makes a list of more than {MOST_APPENDED}")
        costs[name] = total
    return costs[name]
