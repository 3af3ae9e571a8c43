"""How often the loops in TorchScript code can run: their bounds, followed back to constants."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from sapiens_stream.models.script_function import ScriptFunction
from sapiens_stream.models.script_source import ForeignError, dotted

MOST_DIMENSIONS = 64
"""Of a tensor, says torch."""


class Bounds:
    """How large a number, or how long a list, can be: where it is a constant, or how many dimensions a tensor has."""

    def __init__(self, functions: Mapping[str, ScriptFunction]) -> None:
        self._functions = functions
        self._known: dict[tuple[int, str], int | None] = {}

    def integer(self, value: ast.expr, function: ScriptFunction) -> int:
        """Raises ForeignError where there is no telling."""
        found = self._memoised(value, function, "integer")
        if found is None:
            raise ForeignError(f"a loop without a constant bound (range({ast.unparse(value)[:40]}))")
        return found

    def _memoised(self, value: ast.expr, function: ScriptFunction, what: str) -> int | None:
        key = (id(value), what)
        if key not in self._known:
            self._known[key] = None  # what depends on itself has no bound
            find = self._integer if what == "integer" else self._length
            self._known[key] = find(value, function)
        return self._known[key]

    def _integer(self, value: ast.expr, function: ScriptFunction) -> int | None:
        match value:
            case ast.Constant(value=int(constant)):
                return constant
            case ast.Name(id=name):
                return self._largest(name, function, "integer")
            case ast.Call(func=ast.Name(id="uninitialized")):
                return 0
            case ast.Call(func=ast.Name(id="unchecked_cast" | "annotate"), args=[_, inner]):
                return self._memoised(inner, function, "integer")
            case ast.Call(func=func, args=args):
                return self._computed(dotted(func), args, function)
        return None

    def _computed(self, operator: str | None, args: list[ast.expr], function: ScriptFunction) -> int | None:
        match operator, args:
            case "torch.dim", [_]:
                return MOST_DIMENSIONS
            case "torch.len", [inner]:
                return self._memoised(inner, function, "length")
            case "torch.sub", [first, ast.Constant(value=int(less))] if less >= 0:
                return self._memoised(first, function, "integer")
            case "torch.__range_length", [ast.Constant(value=int(first)), last, ast.Constant(value=int(step))]:
                return self._memoised(last, function, "integer") if first >= 0 and step >= 1 else None
        return None

    def _length(self, value: ast.expr, function: ScriptFunction) -> int | None:
        match value:
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return len(parts)
            case ast.Constant(value=None):
                return 0
            case ast.Name(id=name):
                return self._grown(name, function)
            case ast.Call(func=ast.Name(id="uninitialized")):
                return 0
            case ast.Call(func=ast.Name(id="unchecked_cast" | "annotate"), args=[_, inner]):
                return self._memoised(inner, function, "length")
            case ast.Call(func=func, args=[inner, *_]) if dotted(func) in ("torch.slice", "torch.list"):
                return self._memoised(inner, function, "length")
            case ast.Call(func=func, args=[_]) if dotted(func) == "torch.size":
                return MOST_DIMENSIONS
            case ast.Call(func=func, args=[first, second]) if dotted(func) == "torch.add":
                lengths = [self._memoised(each, function, "length") for each in (first, second)]
                return None if lengths[0] is None or lengths[1] is None else lengths[0] + lengths[1]
            case ast.Call():
                return self._returned(value, function)
        return None

    def _returned(self, call: ast.Call, function: ScriptFunction) -> int | None:
        callee = next((callee for callee, each in function.calls if each is call), None)
        if callee is None:
            return None
        lengths = [self._memoised(each, self._functions[callee], "length") for each in self._functions[callee].returns]
        return None if not lengths or None in lengths else max(each for each in lengths if each is not None)

    def _grown(self, name: str, function: ScriptFunction) -> int | None:
        length = self._largest(name, function, "length")
        for loops in function.appended.get(name, ()):
            times: int | None = 1
            for bound in loops:
                trips = self._memoised(bound, function, "integer")
                times = None if times is None or trips is None else times * trips
            length = None if length is None or times is None else length + times
        return length

    def _largest(self, name: str, function: ScriptFunction, what: str) -> int | None:
        """Of all that the name may stand for."""
        values = [(each, function) for each in function.values.assigned.get(name, ())]
        if name in function.arguments:
            values += self._given(name, function)
        bounds = [None if each is None else self._memoised(each, where, what) for each, where in values]
        return None if not bounds or None in bounds else max(each for each in bounds if each is not None)

    def _given(self, argument: str, function: ScriptFunction) -> Iterator[tuple[ast.expr | None, ScriptFunction]]:
        """What the file's calls of the function give it for an argument."""
        place = function.arguments.index(argument)
        defaults = dict(zip(reversed(function.arguments), reversed(function.body.args.defaults), strict=False))
        place -= function.is_method  # a call has the object elsewhere
        for caller in self._functions.values():
            for callee, call in caller.calls:
                if callee == function.name:
                    given = call.args[place : place + 1] or [
                        keyword.value for keyword in call.keywords if keyword.arg == argument
                    ]
                    yield (given[0] if given else defaults.get(argument)), caller
