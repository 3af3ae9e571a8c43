"""What several processes were asked for together, kept beside their records: it alone tells what is left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_stream.pipeline.run_folder import as_text
from sapiens_stream.settings import INPUTS_FILE, INPUTS_SCHEMA
from sapiens_stream.sinks.files import holds, written_aside

_LARGEST_LIST = 1 << 28  # bytes


@dataclass(frozen=True)
class Asked:
    """An input: the `name` of its results, what it was called, and its frames as its header has them."""

    name: str
    input: str
    frames: int | None = None


def write_input_list(folder: Path, inputs: Iterable[Asked]) -> Path:
    """Writes the list, whose name is that of its content: who writes the same one disturbs nobody.

    Raises OutputError.
    """
    rows = [
        {"name": each.name, "input": each.input, "frames": each.frames}
        for each in sorted(inputs, key=lambda each: each.name)
    ]
    data = as_text({"schema": INPUTS_SCHEMA, "inputs": rows}).encode() + b"\n"
    path = folder / f"list-{hashlib.sha256(data).hexdigest()[:12]}{INPUTS_FILE}"
    if not holds(path, memoryview(data)):
        with written_aside(path) as file:
            file.write(data)
    return path


def read_input_lists(folder: Path) -> dict[str, Asked]:
    """All that was asked for in a folder, by the names of results. What is no such list is passed over."""
    found: dict[str, Asked] = {}
    for path in sorted(folder.glob(f"*{INPUTS_FILE}")):
        found.update((each.name, each) for each in _read(path))
    return found


def _read(path: Path) -> Iterator[Asked]:
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST_LIST:
            return
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    if not isinstance(content, dict) or content.get("schema") != INPUTS_SCHEMA:
        return
    rows: Any = content.get("inputs")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("name"), str) and isinstance(row.get("input"), str):
            frames = row.get("frames")
            yield Asked(row["name"], row["input"], frames if type(frames) is int and frames >= 0 else None)
