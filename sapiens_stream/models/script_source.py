"""The code in a TorchScript file, read before torch reads it: loading alone can run what it holds.

torch writes it in a small subset of Python, with one assignment a line, and reads far more than it writes. Here only
what it writes for networks passes: `Module` classes, functions, tensor operators, loops with a bound that is known.
"""

from __future__ import annotations

import ast
import pickletools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sapiens_stream.models.archive import Allowance, Archive
from sapiens_stream.models.operators import allowed
from sapiens_stream.models.pickles import StorageAt, TensorAt, read_pickle

MOST_CODE = 32 << 20
"""Bytes; the largest published network has one."""
_TEXT = re.compile(rb"[\n\x20-\x7e]*")
_PICKLES = re.compile(r"[^/]+/(data|constants)\.pkl$")
# What torch's own reader of these pickles makes, besides the classes of the file.
_PICKLED = re.compile(
    r"torch\.(\w+Storage|Size|device|_utils\._rebuild_tensor_v2|_utils\._rebuild_parameter)"
    r"|torch\.jit\._pickle\.(build_(int|tensor|double|bool)list|restore_type_tag)|collections\.OrderedDict"
)
_RESERVED = {
    "torch",
    "ops",
    "CONSTANTS",
    "__torch__",
    "range",
    "getattr",
    "annotate",
    "unchecked_cast",
    "uninitialized",
}


class ForeignError(Exception):
    """Names what is more than a network's code; it says `str`."""


@dataclass
class ScriptClass:
    """A `Module` of the file: the types of its attributes as written, and its methods."""

    attributes: dict[str, str] = field(default_factory=dict)
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)


@dataclass
class ScriptCode:
    """All the code of a file, by qualified name."""

    classes: dict[str, ScriptClass] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)

    def bodies(self) -> Iterator[tuple[str, ast.FunctionDef]]:
        """Every function and method, with its full name."""
        yield from self.functions.items()
        for name, each in self.classes.items():
            for method, body in each.methods.items():
                yield f"{name}.{method}", body


def read_code(archive: Archive) -> ScriptCode:
    """The code of a TorchScript archive, of which no more than its outline is checked.

    Raises ForeignError, and SyntaxError, ValueError, RecursionError or MemoryError for what is no code.
    """
    code = ScriptCode()
    names = [name for name in archive.names if name.partition("/")[2].startswith("code/")]
    sources = [(name, archive.read(name)) for name in names if name.endswith(".py")]
    if sum(len(text) for _, text in sources) > MOST_CODE:
        raise ForeignError(f"more than {MOST_CODE >> 20} MB of code")
    for name, text in sources:
        if not _TEXT.fullmatch(text):
            raise ForeignError("characters that torch does not write")
        module = name.partition("/code/")[2].removesuffix(".py").replace("/", ".")
        for statement in ast.parse(text).body:
            match statement:
                case ast.FunctionDef():
                    _check_signature(statement)
                    code.functions[f"{module}.{statement.name}"] = statement
                case ast.ClassDef():
                    code.classes[f"{module}.{statement.name}"] = _class(statement)
                case ast.Assign(targets=[ast.Name(id="op_version_set")], value=ast.Constant()):
                    pass
                case _:
                    raise ValueError(f"what torch does not write: {ast.unparse(statement)[:60]}")
    return code


def check_pickles(archive: Archive, code: ScriptCode) -> None:
    """Raises ForeignError for an object in the archive's pickles that is none of the file's modules, or too large."""
    allowance = Allowance(archive.size)
    for record in filter(_PICKLES.match, archive.names):
        data = archive.read(record)
        mentioned: list[StorageAt | TensorAt] = []
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if opcode.name in ("GLOBAL", "INST"):
                name = str(argument).replace(" ", ".")
                if name not in code.classes and not _PICKLED.fullmatch(name):
                    raise ForeignError(name)
            elif opcode.name == "STACK_GLOBAL" or (opcode.name == "LONG_BINPUT" and int(str(argument)) > number):
                raise ForeignError(opcode.name)
            elif isinstance(argument, str) and "torch.classes" in argument:
                raise ForeignError(argument)
        read_pickle(data, mentioned)
        for each in mentioned:
            if isinstance(each, TensorAt):
                allowance.take(each.size, each.storage.count, 8)


def _class(statement: ast.ClassDef) -> ScriptClass:
    bases = [ast.unparse(base) for base in statement.bases]
    if bases != ["Module"] or statement.decorator_list or statement.keywords:
        raise ForeignError(f"class {statement.name}({', '.join(bases)})")
    found = ScriptClass()
    for part in statement.body:
        match part:
            case ast.FunctionDef():
                _check_signature(part)
                found.methods[part.name] = part
            case ast.AnnAssign(target=ast.Name(id=name)):
                if part.value is not None:
                    _check_literal(part.value)
                found.attributes[name] = ast.unparse(part.annotation)
            case ast.Assign(
                targets=[ast.Subscript(value=ast.Name(id="__annotations__"), slice=ast.Constant(value=key))]
            ):
                found.attributes[str(key)] = ast.unparse(part.value)
            case ast.Assign(targets=[ast.Name(id="__parameters__" | "__buffers__")]):
                pass
            case ast.Assign(targets=[ast.Name(id="__forward_hooks__" | "__forward_pre_hooks__")], value=value):
                if not isinstance(value, ast.List) or value.elts:
                    raise ForeignError(f"a hook, {ast.unparse(value)[:60]}")
            case ast.Pass():
                pass
            case _:
                raise ForeignError(ast.unparse(part)[:60])
    return found


def _check_signature(function: ast.FunctionDef) -> None:
    if function.name in ("__setstate__", "__getstate__"):  # which loading calls
        raise ForeignError(function.name)
    given = function.args
    if function.decorator_list or given.posonlyargs or given.vararg or given.kwarg or given.kwonlyargs:
        raise ForeignError(f"def {function.name} with other than plain arguments")
    for default in given.defaults:  # which loading evaluates
        _check_literal(default)
    if _RESERVED & {each.arg for each in given.args}:
        raise ForeignError(f"def {function.name} with an argument named as what torch means")


def _check_literal(value: ast.expr) -> None:
    for node in ast.walk(value):
        constant = isinstance(node, ast.Attribute) and ast.unparse(node).startswith("CONSTANTS.")
        plain = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.UnaryOp, ast.USub, ast.Name, ast.Load)
        if not constant and not isinstance(node, plain):
            raise ForeignError(ast.unparse(value)[:60])


def dotted(node: ast.expr) -> str | None:
    """A chain of names as written, "torch.add"; None for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def operator_name(written: str) -> str | None:
    """What `torch.add` or `ops.prim.min` is called in full; None for what is no operator."""
    root, _, rest = written.partition(".")
    if root == "torch":
        return f"aten::{rest}"
    return "::".join(rest.split(".", 1)) if root == "ops" else None


def is_allowed(written: str) -> bool:
    """Whether a chain of names is an operator that graphs may run."""
    name = operator_name(written)
    return name is not None and allowed(name)


Arguments = Mapping[str, ast.expr]
