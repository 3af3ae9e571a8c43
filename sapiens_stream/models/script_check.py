"""Whether the code of a TorchScript file may be loaded and run: each call, each loop, and how often it can run."""

from __future__ import annotations

import ast
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from sapiens_stream.models.script_bounds import Bounds
from sapiens_stream.models.script_source import ForeignError, ScriptCode, dotted, is_allowed, operator_name

MOST_STEPS = 200_000
"""Expressions that a call may evaluate, loops and calls included."""
MOST_APPENDED = 1000
"""Elements that a list may get one by one."""

_RESERVED = {
    "torch",
    "ops",
    "__torch__",
    "CONSTANTS",
    "range",
    "getattr",
    "annotate",
    "unchecked_cast",
    "uninitialized",
}
_CONVERSIONS = {"int", "float", "bool"}
_TYPED = {"annotate", "unchecked_cast", "uninitialized"}
_LENGTHENS = {"torch.add", "torch.mul", "torch.add_", "torch.mul_"}


_TELLS = {"ops.prim.RaiseException", "torch.warn"}


def _is_message(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and dotted(value.func) == "torch.format" and not value.keywords


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


@dataclass(frozen=True)
class _Step:
    """An expression: within which loops, as the bounds of their `range`, and the function that it calls if it does."""

    loops: tuple[ast.expr, ...]
    callee: str | None = None


class ScriptFunction:
    """A function or method, checked as it is read."""

    def __init__(self, name: str, body: ast.FunctionDef, code: ScriptCode) -> None:
        self.name = name
        self.body = body
        self.arguments = [each.arg for each in body.args.args]
        self.is_method = name.rpartition(".")[0] in code.classes
        self.steps: list[_Step] = []
        self.calls: list[tuple[str, ast.Call]] = []
        self.returns: list[ast.expr] = []
        self.assigned: dict[str, list[ast.expr | None]] = defaultdict(list)
        self.appended: dict[str, list[tuple[ast.expr, ...]]] = defaultdict(list)
        self._code = code
        self._aliases: dict[str, str] = {}
        self._types = {each.arg: ast.unparse(each.annotation) for each in body.args.args if each.annotation}
        self._texts = {name for name, type_ in self._types.items() if "str" in type_}
        # A message may be raised or warned of; put into another message, it would double each time.
        self._messages = {
            target.id
            for each in ast.walk(body)
            if isinstance(each, ast.Assign) and _is_message(each.value)
            for target in each.targets
            if isinstance(target, ast.Name)
        }
        self._loops: tuple[ast.expr, ...] = ()

    def read(self) -> None:
        """Raises ForeignError."""
        self._block(self.body.body)

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Assign(targets=[target], value=value):
                    self._assign(target, value)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._assign(target, value)
                case ast.Expr(value=value):
                    self._expression(value)
                case ast.Return(value=value):
                    if value is not None:
                        self._expression(value)
                        self.returns.append(value)
                case ast.If(test=test, body=body, orelse=other):
                    self._expression(test)
                    self._block(body)
                    self._block(other)
                case ast.For():
                    self._loop(statement)
                case ast.Pass():
                    pass
                case ast.While():
                    raise ForeignError(f"a loop without a bound (while {ast.unparse(statement.test)[:40]})")
                case _:
                    raise ForeignError(ast.unparse(statement)[:60])

    def _loop(self, loop: ast.For) -> None:
        match loop.iter:
            case ast.Call(func=ast.Name(id="range"), args=[bound], keywords=[]) if not loop.orelse:
                pass
            case _:
                raise ForeignError(f"a loop without a bound (for {ast.unparse(loop.iter)[:40]})")
        self._expression(bound)
        self._target(loop.target, None)
        before, self._loops = self._loops, (*self._loops, bound)
        self.steps.append(_Step(self._loops))  # an empty loop takes its time too
        self._block(loop.body)
        self._loops = before

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        chain = dotted(value)
        if chain is not None and chain.startswith("__torch__."):
            if not isinstance(target, ast.Name) or chain not in self._code.functions or target.id in self._aliases:
                raise ForeignError(chain)
            self._aliases[target.id] = chain
            self._target(target, None)
            return
        if _is_message(value) and isinstance(target, ast.Name):
            self._told(value)
        else:
            self._expression(value)
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for each, part in zip(target.elts, value.elts, strict=True):
                self._target(each, part)
        elif isinstance(target, ast.Tuple):
            for each in target.elts:
                self._target(each, None, text=self._is_text(value))
        else:
            self._target(target, value)

    def _target(self, target: ast.expr, value: ast.expr | None, *, text: bool = False) -> None:
        if not isinstance(target, ast.Name):
            raise ForeignError(f"an assignment to {ast.unparse(target)[:60]}")
        if target.id in _RESERVED or (target.id in self._aliases and value is not None):
            raise ForeignError(f"an assignment to {target.id}")
        self.assigned[target.id].append(value)
        if text or (value is not None and self._is_text(value)):
            self._texts.add(target.id)

    def _expression(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=constant):
                if isinstance(constant, str) and not constant.isprintable():
                    raise ForeignError("a text of control characters")
                return
            case ast.Name(id=name):
                if name in _RESERVED or name in self._messages:
                    raise ForeignError(f"{name}, as a value")
                return
            case ast.Attribute(value=value):
                chain = dotted(node) or ""
                if chain.startswith("CONSTANTS."):
                    return
                if chain.partition(".")[0] in _RESERVED:
                    raise ForeignError(chain)
                parts = [value]
            case ast.Call():
                self._call(node)
                return
            case ast.Subscript(value=value, slice=index):
                parts = [value, index]
            case ast.Slice(lower=lower, upper=upper, step=step):
                parts = [each for each in (lower, upper, step) if each is not None]
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                pass
            case ast.Dict(keys=keys, values=values):
                parts = [each for each in (*keys, *values) if each is not None]
            case ast.UnaryOp(operand=operand):
                parts = [operand]
            case ast.IfExp(test=test, body=body, orelse=other):
                parts = [test, body, other]
            case _:
                raise ForeignError(ast.unparse(node)[:60])
        self.steps.append(_Step(self._loops))
        for part in parts:
            self._expression(part)

    def _call(self, call: ast.Call) -> None:
        callee = None
        given = call.args
        match call.func:
            case ast.Name(id=name) if name in _TYPED:
                given = call.args[1:]  # after a type
            case ast.Name(id="getattr") if len(call.args) == 2 and isinstance(call.args[1], ast.Constant):
                pass
            case ast.Name(id=name) if name in self._aliases:
                callee = self._aliases[name]
            case ast.Name(id=name):
                if name not in _CONVERSIONS or name in self.assigned:
                    raise ForeignError(name)
            case ast.Attribute(value=value, attr=method):
                callee = self._callee(dotted(call.func), value, method)
            case _:
                raise ForeignError(ast.unparse(call)[:60])
        written = dotted(call.func)
        if written in _LENGTHENS and any(map(self._is_text, call.args)):
            raise ForeignError(f"{operator_name(written or '')} of texts")
        if written == "torch.format":
            raise ForeignError("aten::format, as a value")
        if written == "torch.append":
            self._append(call)
        self.steps.append(_Step(self._loops, callee))
        if callee is not None:
            self.calls.append((callee, call))
        for each in (*given, *(keyword.value for keyword in call.keywords)):
            if written in _TELLS and (_is_message(each) or (isinstance(each, ast.Name) and each.id in self._messages)):
                self._told(each)
            else:
                self._expression(each)

    def _told(self, message: ast.expr) -> None:
        """A message, or its name, where one may stand."""
        if isinstance(message, ast.Call):
            self.steps.append(_Step(self._loops))
            for each in message.args:
                self._expression(each)

    def _append(self, call: ast.Call) -> None:
        """Lists grow only under the one name that they were made with, so that their lengths can be told."""
        match call.args:
            case [ast.Name(id=name), _] if len(self.assigned.get(name, ())) == 1 and name not in self.arguments:
                made = self.assigned[name][0]
                if isinstance(made, ast.Call) and made.args:  # annotate(List[int], [])
                    made = made.args[-1]
                if isinstance(made, ast.List):
                    self.appended[name].append(self._loops)
                    return
        raise ForeignError(f"{ast.unparse(call)[:60]}, to a list made elsewhere")

    def _callee(self, written: str | None, value: ast.expr, method: str) -> str | None:
        """The function of the file that is called, None for an operator."""
        root = (written or "").partition(".")[0]
        if root in ("torch", "ops"):
            if not is_allowed(written or ""):
                raise ForeignError(operator_name(written or "") or written)
            return None
        if root == "__torch__":
            if written not in self._code.functions:
                raise ForeignError(written)
            return written
        owner = self._class_of(value)
        if owner is None or method not in self._code.classes[owner].methods:
            raise ForeignError(f"{ast.unparse(value)[:40]}.{method}")
        self._expression(value)
        return f"{owner}.{method}"

    def _class_of(self, value: ast.expr) -> str | None:
        """The class of the file that the value is an object of, as far as it is written."""
        match value:
            case ast.Name(id=name) if name in self.assigned:
                found = {None if each is None else self._class_of(each) for each in self.assigned[name]}
                type_ = found.pop() if len(found) == 1 and name not in self._types else None
            case ast.Name(id=name):
                type_ = self._types.get(name)
            case ast.Attribute(value=inner, attr=attribute):
                type_ = self._attribute(inner, attribute)
            case ast.Call(func=ast.Name(id="getattr"), args=[inner, ast.Constant(value=attribute)]):
                type_ = self._attribute(inner, str(attribute))
            case _:
                type_ = None
        return type_ if type_ in self._code.classes else None

    def _attribute(self, value: ast.expr, name: str) -> str | None:
        owner = self._class_of(value)
        return None if owner is None else self._code.classes[owner].attributes.get(name)

    def _is_text(self, value: ast.expr) -> bool:
        """Whether the value may be a text, or hold one; no operator but these returns one."""
        match value:
            case ast.Constant(value=constant):
                return isinstance(constant, str)
            case ast.Name(id=name):
                return name in self._texts
            case ast.Attribute(attr=attribute):
                return attribute in self._code_texts
            case ast.Call(func=func):
                makes = dotted(func) in ("torch.format", "torch.slice", "torch.__getitem__", *_LENGTHENS)
                same = isinstance(func, ast.Name) and func.id in _TYPED
                return (makes or same) and any(map(self._is_text, value.args))
            case ast.Subscript() | ast.Tuple() | ast.List() | ast.Dict() | ast.IfExp():
                return any(self._is_text(each) for each in ast.iter_child_nodes(value) if isinstance(each, ast.expr))
        return False

    @cached_property
    def _code_texts(self) -> set[str]:
        classes = self._code.classes.values()
        return {name for each in classes for name, type_ in each.attributes.items() if "str" in type_}
