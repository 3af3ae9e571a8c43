"""What the values of a TorchScript function are, as far as it is written: objects of the file's classes, and texts."""

from __future__ import annotations

import ast
from collections import defaultdict

from sapiens_stream.models.script_source import ScriptCode, dotted

TYPED = {"annotate", "unchecked_cast", "uninitialized"}
"""Take a type before a value."""
LENGTHENS = {"torch.add", "torch.mul", "torch.add_", "torch.mul_"}
"""Of texts and lists."""


def is_message(value: ast.expr) -> bool:
    """Whether it is a text that is put together."""
    return isinstance(value, ast.Call) and dotted(value.func) == "torch.format" and not value.keywords


class ScriptValues:
    """The names of a function: its arguments, and what `assign` tells of the others."""

    def __init__(self, body: ast.FunctionDef, code: ScriptCode) -> None:
        self.assigned: dict[str, list[ast.expr | None]] = defaultdict(list)
        """Every value that a name gets; None where it cannot be told."""
        # A message may be raised or warned of; put into another message, it would double each time.
        self.messages = {
            target.id
            for each in ast.walk(body)
            if isinstance(each, ast.Assign) and is_message(each.value)
            for target in each.targets
            if isinstance(target, ast.Name)
        }
        self._code = code
        self._types = {each.arg: ast.unparse(each.annotation) for each in body.args.args if each.annotation}
        self._texts = {name for name, type_ in self._types.items() if "str" in type_}
        classes = code.classes.values()
        self._text_attributes = {name for each in classes for name, type_ in each.attributes.items() if "str" in type_}

    def assign(self, name: str, value: ast.expr | None, *, text: bool) -> None:
        """A name gets a value, which is known to be a `text` or not."""
        self.assigned[name].append(value)
        if text or (value is not None and self.is_text(value)):
            self._texts.add(name)

    def class_of(self, value: ast.expr) -> str | None:
        """The class of the file that the value is an object of, as far as it is written."""
        match value:
            case ast.Name(id=name) if name in self.assigned:
                found = {None if each is None else self.class_of(each) for each in self.assigned[name]}
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
        owner = self.class_of(value)
        return None if owner is None else self._code.classes[owner].attributes.get(name)

    def is_text(self, value: ast.expr) -> bool:
        """Whether the value may be a text, or hold one; no operator but these returns one."""
        match value:
            case ast.Constant(value=constant):
                return isinstance(constant, str)
            case ast.Name(id=name):
                return name in self._texts
            case ast.Attribute(attr=attribute):
                return attribute in self._text_attributes
            case ast.Call(func=func):
                makes = dotted(func) in ("torch.format", "torch.slice", "torch.__getitem__", *LENGTHENS)
                same = isinstance(func, ast.Name) and func.id in TYPED
                return (makes or same) and any(map(self.is_text, value.args))
            case ast.Subscript() | ast.Tuple() | ast.List() | ast.Dict() | ast.IfExp():
                return any(self.is_text(each) for each in ast.iter_child_nodes(value) if isinstance(each, ast.expr))
        return False
