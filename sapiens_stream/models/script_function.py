"""A function of a TorchScript file, held against what may stand in it: each statement, each call, each loop."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass

from sapiens_stream.models.script_source import ForeignError, ScriptCode, dotted, is_allowed, operator_name
from sapiens_stream.models.script_values import LENGTHENS, TYPED, ScriptValues, is_message

_RESERVED = {"torch", "ops", "__torch__", "CONSTANTS", "range", "getattr", *TYPED}
_CONVERSIONS = {"int", "float", "bool"}
_TELLS = {"ops.prim.RaiseException", "torch.warn"}


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
        self.values = ScriptValues(body, code)
        self.appended: dict[str, list[tuple[ast.expr, ...]]] = defaultdict(list)
        self._code = code
        self._aliases: dict[str, str] = {}
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
        if is_message(value) and isinstance(target, ast.Name):
            self._told(value)
        else:
            self._expression(value)
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for each, part in zip(target.elts, value.elts, strict=True):
                self._target(each, part)
        elif isinstance(target, ast.Tuple):
            for each in target.elts:
                self._target(each, None, text=self.values.is_text(value))
        else:
            self._target(target, value)

    def _target(self, target: ast.expr, value: ast.expr | None, *, text: bool = False) -> None:
        if not isinstance(target, ast.Name):
            raise ForeignError(f"an assignment to {ast.unparse(target)[:60]}")
        if target.id in _RESERVED or (target.id in self._aliases and value is not None):
            raise ForeignError(f"an assignment to {target.id}")
        self.values.assign(target.id, value, text=text)

    def _expression(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=constant):
                if isinstance(constant, str) and not constant.isprintable():
                    raise ForeignError("a text of control characters")
                return
            case ast.Name(id=name):
                if name in _RESERVED or name in self.values.messages:
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
            case ast.Name(id=name) if name in TYPED:
                given = call.args[1:]  # after a type
            case ast.Name(id="getattr") if len(call.args) == 2 and isinstance(call.args[1], ast.Constant):
                pass
            case ast.Name(id=name) if name in self._aliases:
                callee = self._aliases[name]
            case ast.Name(id=name):
                if name not in _CONVERSIONS or name in self.values.assigned:
                    raise ForeignError(name)
            case ast.Attribute(value=value, attr=method):
                callee = self._callee(dotted(call.func), value, method)
            case _:
                raise ForeignError(ast.unparse(call)[:60])
        written = dotted(call.func)
        if written in LENGTHENS and any(map(self.values.is_text, call.args)):
            raise ForeignError(f"{operator_name(written or '')} of texts")
        if written == "torch.format":
            raise ForeignError("aten::format, as a value")
        if written == "torch.append":
            self._append(call)
        self.steps.append(_Step(self._loops, callee))
        if callee is not None:
            self.calls.append((callee, call))
        for each in (*given, *(keyword.value for keyword in call.keywords)):
            if written in _TELLS and (
                is_message(each) or (isinstance(each, ast.Name) and each.id in self.values.messages)
            ):
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
            case [ast.Name(id=name), _] if len(self.values.assigned.get(name, ())) == 1 and name not in self.arguments:
                made = self.values.assigned[name][0]
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
        owner = self.values.class_of(value)
        if owner is None or method not in self._code.classes[owner].methods:
            raise ForeignError(f"{ast.unparse(value)[:40]}.{method}")
        self._expression(value)
        return f"{owner}.{method}"
