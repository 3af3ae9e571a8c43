"""Makes checkpoints that mean harm: code in their graphs, sizes that lie, impossible pickles and archives."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

Change = Callable[[str, bytes], bytes | None]


class Plain(nn.Module):
    """28 logits of each pixel, after which a hostile file does something else."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv2d(3, 28, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.score(pixels)


class Inner(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.twice(pixels)

    @torch.jit.export
    def twice(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels * 2


class Outer(Plain):
    """Calls a method of a part within a nested block."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.dim() == 4:
            for _ in range(2):
                pixels = self.inner(pixels)
        return self.score(pixels)


def rewritten(path: Path, change: Change) -> Path:
    """The archive with its members changed, None for those that go."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if (changed := change(name, data)) is not None:
                archive.writestr(name, changed)
    return path


def scripted(path: Path, module: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module.eval()).save(str(path))
    return path


def with_code(
    path: Path, line: str, *, before: str = "    score = self.score\n", module: nn.Module | None = None
) -> Path:
    """A TorchScript file with a line of code put before another; `{trap}` in it is a file that it is to write."""
    text = line.replace("{trap}", str(path.with_name("sprung"))).encode()
    scripted(path, module or Plain())
    return rewritten(
        path, lambda name, data: data.replace(before.encode(), text + before.encode()) if name.endswith(".py") else data
    )


def _added(value: str) -> str:
    """Has the result depend on it, or it would be left out."""
    return f"    pixels = torch.add(pixels, {value})\n"


def _write(path: str) -> str:
    """Writes a hundred ones into a file."""
    return (
        f'    w = torch.from_file("{path}", True, 100, dtype=0, layout=None, device=None, pin_memory=None)\n'
        "    w2 = torch.copy_(w, torch.ones([100], dtype=0))\n" + _added("torch.sum(w2)")
    )


def _indented(lines: str) -> str:
    return "".join(f"  {line}\n" for line in lines.splitlines())


def _doubled(first: str) -> str:
    lines = [f"    s{n + 1} = torch.add(s{n}, s{n})\n" for n in range(60)]
    return f"    s0 = {first}\n" + "".join(lines)


WRITE = _write("{trap}")
ENORMOUS = "torch.sum(torch.ones([1073741824, 8]))"
OTHER = "  def more(self: __torch__.tests.hostile_checkpoints.Plain) -> Tensor:\n"
CODE: Mapping[str, tuple[str, str]] = {
    "from_file": (WRITE, "aten::from_file"),
    "from_file by its namespace": (WRITE.replace("torch.from_file", "ops.aten.from_file"), "aten::from_file"),
    "from_file under another name": (
        WRITE.replace("torch.from_file", "f").replace("    w =", "    f = torch.from_file\n    w =", 1),
        "from_file",
    ),
    "save": ('    torch.save(pixels, "{trap}")\n', "aten::save"),
    "save as a method": ('    (pixels).save("{trap}", )\n', "pixels.save"),
    "in an if never taken": ("    if False:\n" + _indented(WRITE) + "    else:\n      pass\n", "aten::from_file"),
    "print": ('    print("owned")\n', "print"),
    "prim print": ('    ops.prim.Print("owned")\n', "prim::Print"),
    "a custom operator": ("    pixels = ops.mine.steal(pixels)\n", "mine::steal"),
    "a loop without an end": ("    while True:\n      pass\n", "a loop without a bound"),
    "a loop by a tensor": (
        "    n = int(torch.sum(pixels))\n    for i in range(n):\n      pass\n",
        "a loop without a constant bound",
    ),
    "a loop by the input's size": (
        "    for i in range(torch.size(pixels, 2)):\n      pass\n",
        "a loop without a constant bound",
    ),
    "a loop of a year": ("    for i in range(9000000000000):\n      pass\n", "steps"),
    "loops in loops": (
        "".join(f"{'  ' * (d + 2)}for i{d} in range(1000):\n" for d in range(4))
        + "            pass\n            x = 1\n",
        "steps",
    ),
    "an attribute set": ("    self.training = True\n", "an assignment to self.training"),
    "a builtin": ('    getattr(self, "forward")(pixels)\n', "getattr"),
    "a parallel task": ("    x = fork(self.score, pixels)\n", "fork"),
    "texts that double": (_doubled('"aaaaaaaa"'), "texts"),
    "messages that double": (
        '    s = "aaaaaaaa"\n'
        + "".join(
            f'    s{n} = torch.format("{{}}{{}}", s{n - 1 if n else ""}, s{n - 1 if n else ""})\n' for n in range(60)
        ),
        "as a value",
    ),
    "messages that double in a loop": (
        '    s = "aaaaaaaa"\n    for i in range(60):\n      t = s\n      s = torch.format("{}{}", t, t)\n',
        "as a value",
    ),
    "a message that another line could be forged with": (
        '    torch.warn("\\nerror: owned")\n',
        "a text of control characters",
    ),
    "a list without an end": (
        "    x = annotate(List[int], [])\n    for i in range(10000):\n      y = torch.append(x, i)\n",
        "a list of more than",
    ),
    "lists that double": (_doubled("[1, 2]") + _added("torch.len(s60)"), "aten::add.t"),
    "a long list": ("    s = torch.mul([1], 9000000000000)\n" + _added("torch.len(s)"), "aten::mul.left_t"),
    "an import": ("    import os\n", "import os"),
    "a factorial": ("    x = torch.factorial(1000000000)\n", "aten::factorial"),
    "an environment": ("    x = torch.manual_seed(1)\n", "aten::manual_seed"),
    "a default that runs": (
        "    pass\n"
        "  def other(self: __torch__.tests.hostile_checkpoints.Plain, x: Tensor=torch.rand([1])) -> Tensor:\n"
        "    return x\n" + OTHER,
        "torch.rand",
    ),
    "a method that loading calls": (
        "    pass\n"
        "  def __setstate__(self: __torch__.tests.hostile_checkpoints.Plain, state: Tensor) -> NoneType:\n"
        + WRITE
        + "    return None\n"
        + OTHER,
        "__setstate__",
    ),
    "enormous": (_added(ENORMOUS), "GB of memory"),
    "enormous by many": (
        "    x = annotate(List[Tensor], [])\n"
        "    for i in range(300):\n"
        "      _x = torch.append(x, torch.zeros([67108864]))\n" + _added("torch.sum(torch.cat(x))"),
        "GB of memory",
    ),
    "enormous by expansion": (_added("torch.sum(torch.expand(torch.zeros([1]), [1099511627776]))"), "operations"),
    "enormous for one batch": (
        "    if torch.eq(torch.size(pixels, 0), 2):\n" + _indented(_added(ENORMOUS)) + "    else:\n      pass\n",
        "GB of memory",
    ),
    "by what is in the picture": (
        "    if bool(torch.gt(torch.sum(pixels), 1)):\n" + _indented(_added(ENORMOUS)) + "    else:\n      pass\n",
        "what is in the picture",
    ),
    "by a number that was small": (
        "    n = torch.zeros([1])\n"
        "    n1 = torch.add_(n, torch.add(torch.sum(pixels), 10000000000))\n"
        + _added("torch.sum(torch.zeros([int(n)]))"),
        "into a number that it made before",
    ),
}
"""What a line of TorchScript does, the line, and what the refusal names."""


def in_a_method(path: Path) -> Path:
    """from_file in a method of a part, called in a nested block."""
    return with_code(
        path, _write(str(path.with_name("sprung"))), before="    return torch.mul(pixels, 2)\n", module=Outer()
    )


def in_a_hook(path: Path) -> Path:
    """from_file in a hook."""

    def hook(self: nn.Module, given: tuple[torch.Tensor], result: torch.Tensor) -> torch.Tensor:
        return result + 1

    module = Plain()
    module.register_forward_hook(hook)
    return scripted(path, module)


def with_state(path: Path) -> Path:
    """Written by torch itself: a part that is made anew, by code of its own, as it is loaded."""

    class Remade(Plain):
        @torch.jit.export
        def __getstate__(self) -> tuple[torch.Tensor, bool]:
            return torch.ones(1), self.training

        @torch.jit.export
        def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
            torch.save(state[0], "sprung")
            self.training = state[1]

    return scripted(path, Remade())


def with_custom_class(path: Path) -> Path:
    """An object of a class in C++."""
    scripted(path, Plain())
    name = b"c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n"
    return rewritten(
        path, lambda member, data: data[:2] + name + b"0" + data[2:] if member.endswith("/data.pkl") else data
    )


def exported(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A torch.export program with its graph changed."""

    def rewrite(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        graph = json.loads(data)
        change(graph)
        return json.dumps(graph).encode()

    torch.export.save(torch.export.export(Plain().eval(), (torch.zeros(1, 3, 32, 32),)), path)
    return rewritten(path, rewrite)


def first_node(graph: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = graph["graph_module"]["graph"]["nodes"][0]
    return node


def _calling(target: str, *inputs: Mapping[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Has the graph call that before all else."""

    def change(graph: dict[str, Any]) -> None:
        node = {"target": target, "metadata": {}, "name": "first", "outputs": [{"as_tensor": {"name": "first"}}]}
        node["inputs"] = [{"name": "", "arg": each, "kind": 1} for each in inputs]  # type: ignore[assignment]
        nodes = graph["graph_module"]["graph"]["nodes"]
        nodes.insert(0, node)
        graph["graph_module"]["graph"]["tensor_values"]["first"] = graph["graph_module"]["graph"]["tensor_values"][
            "pixels"
        ]

    return change


def _guarded(graph: dict[str, Any]) -> None:
    graph["guards_code"] = ["__import__('pathlib').Path('sprung').touch() or True"]


def _named(graph: dict[str, Any]) -> None:
    first_node(graph)["name"] = "a\nimport pathlib; pathlib.Path('sprung').touch()\nb"


EXPORTS: Mapping[str, tuple[Callable[[dict[str, Any]], None], str | None]] = {
    "from_file": (
        _calling("torch.ops.aten.from_file.default", {"as_string": "sprung"}, {"as_bool": True}, {"as_int": 100}),
        "aten.from_file",
    ),
    "a custom operator": (_calling("torch.ops.mine.steal.default"), "mine.steal"),
    "a higher-order operator": (_calling("torch.ops.higher_order.cond"), "higher_order.cond"),
    "python": (_calling("torch.os.system", {"as_string": "touch sprung"}), "torch.os.system"),
    "enormous": (
        _calling("torch.ops.aten.ones.default", {"as_ints": [1 << 30, 8]}),
        "GB of memory",
    ),
    "a guard": (_guarded, None),
    "a name": (_named, None),
}
"""What a torch.export program does, how its graph is changed for it, what the refusal names (None: it runs without)."""


def _zip(path: Path, members: Mapping[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _saved(content: Any) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pickle(body: bytes) -> Callable[[Path], Any]:
    return lambda path: _zip(path, {"a/data.pkl": b"\x80\x02" + body + b".", "a/version": b"3"})


def _bomb(path: Path) -> None:
    _zip(path, {"a/data.pkl": bytes(1 << 30), "a/version": b"3"}, compression=zipfile.ZIP_DEFLATED)


def _twice(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as archive:
            for data in (b"\x80\x02}.", b"\x80\x02]."):
                archive.writestr("a/data.pkl", data)


def _prepended(path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path)
    whole = path.read_bytes()
    path.write_bytes(b"PK\3\4" + bytes(60) + whole)


def _overlapping(path: Path) -> None:
    """Ten thousand names for the same bytes."""
    torch.save({"a": torch.zeros(1 << 18)}, path)
    whole = path.read_bytes()
    end = whole.rindex(b"PK\6\6")
    start = whole.index(b"PK\1\2")
    entry = whole[start : whole.index(b"PK\1\2", start + 4)]
    name = struct.unpack_from("<H", entry, 28)[0]
    entries = b"".join(entry[:46] + str(n).zfill(name).encode() + entry[46 + name :] for n in range(10_000))
    size = len(entries)
    path.write_bytes(whole[:start] + entries + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 10_000, 10_000, size, start, 0))
    assert end


def _strides(path: Path) -> None:
    torch.save({"a": torch.zeros(1).as_strided((1 << 20, 1 << 20), (0, 0))}, path)


def _shared(path: Path) -> None:
    one = torch.zeros(1 << 18)
    torch.save({str(n): one for n in range(1000)}, path)


def _many_layers(path: Path) -> None:
    names = (
        "backbone.patch_embed.projection.weight",
        "decode_head.deconv_layers.0.weight",
        "decode_head.conv_seg.weight",
    )
    weights = {name: torch.zeros(96, 3, 1, 1) for name in names}
    weights["backbone.pos_embed"] = torch.zeros(1, 48, 96)
    torch.save({**weights, "backbone.layers.999999999.ln1.weight": torch.zeros(1)}, path)


def _old(numel: int) -> Callable[[Path], None]:
    """In the layout of before torch 1.6, with a storage of that many numbers and none of them there."""

    def write(path: Path) -> None:
        class Pickler(pickle.Pickler):
            def persistent_id(self, thing: Any) -> Any:
                return thing.told if isinstance(thing, _Stored) else None

        with path.open("wb") as file:
            for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
                pickle.dump(value, file, protocol=2)
            pickler = Pickler(file, protocol=2)
            pickler.dump({"a": _Rebuilt(numel)})
            pickle.dump(["0"], file, protocol=2)
            file.write(struct.pack("<q", numel))

    return write


class _Stored:
    def __init__(self, numel: int) -> None:
        self.told = ("storage", torch.FloatStorage, "0", "cpu", numel, None)


class _Rebuilt:
    def __init__(self, numel: int) -> None:
        self.numel = numel

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, (_Stored(self.numel), 0, (self.numel,), (1,), False, {})


def _safetensors(header: bytes, data: bytes = b"") -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def _tensor(**told: Any) -> bytes:
    return json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **told}}).encode()


DAMAGED: Mapping[str, Callable[[Path], Any]] = {
    "a memo of four billion": _pickle(b"}r\xff\xff\xff\xff"),
    "a name of 4 GB": _pickle(b"X\xff\xff\xff\xff"),
    "a name of 16 EB": _pickle(b"\x8d" + b"\xff" * 8),
    "a number of 2 GB": _pickle(b"\x8b\xff\xff\xff\x7f"),
    "tuples in tuples, as a key": _pickle(b"}" + b")" + b"q\x00h\x00\x86" * 60 + b"K\x01s"),
    "lists in lists": _pickle(b"](" * 100_000 + b"e" * 100_000),
    "nothing on the stack": _pickle(b"0" * 10),
    "a persistent id of nothing": _pickle(b"NQ"),
    "a module of the system": _pickle(b"cos\nsystem\nX\x04\x00\x00\x00true\x85R"),
    "no pickle at all": lambda path: _zip(path, {"a/data.pkl": b"\xff\xfe\xfd", "a/version": b"3"}),
    "a zip bomb": _bomb,
    "two members of one name": _twice,
    "bytes before the archive": _prepended,
    "members that overlap": _overlapping,
    "strides that repeat one number": _strides,
    "one storage a thousand times": _shared,
    "a billion layers": _many_layers,
    "an old file of 4.5 GB": _old(1_200_000_000),
    "an old file of tuples in tuples": lambda path: path.write_bytes(
        b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {}))
        + b"\x80\x02)q\x00"
        + b"\x86q\x00".join([b"h\x00h\x00"] * 60)
        + b"\x86."
        + pickle.dumps([], 2)
    ),
    "an old file of 2 ** 62 numbers": _old(1 << 62),
    "safetensors without a header": lambda path: path.write_bytes(struct.pack("<Q", 1 << 40) + b'{"a'),
    "safetensors that is no JSON": _safetensors(b'{"a": ' * 3000),
    "safetensors beyond the file": _safetensors(_tensor(shape=[1 << 40], data_offsets=[0, 1 << 42])),
    "safetensors of another size": _safetensors(_tensor(shape=[1 << 40]), bytes(16)),
    "safetensors that overlap": _safetensors(
        json.dumps({n: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in "ab"}).encode(), bytes(16)
    ),
    "safetensors of numbers unheard of": _safetensors(_tensor(dtype="F3"), bytes(16)),
    "safetensors that is not text": _safetensors(b'{"\xff\xfe": 1}'),
    "the archive of an archive": lambda path: _zip(path, {"a/data.pkl": path.name.encode(), "a/b/data.pkl": b""}),
}
"""Impossible checkpoints, by what is wrong with them."""
