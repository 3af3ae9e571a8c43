"""The kernel's control groups that this process is in, by which containers and batch systems limit it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_PROCESS = Path("/proc/self")
_MOST_READ = 1 << 20
"""Bytes of a list of mounts: some 8000 of them."""
_MOST_NESTED = 64
"""Groups within each other that are looked at, the innermost first."""


@dataclass(frozen=True)
class Group:
    """One group: where its files are, and which version of the kernel's groups it is of, 1 or 2."""

    folder: Path
    version: int

    def says(self, name: str) -> str:
        """What one of its files says, such as "cpu.max"; "" where there is none."""
        return _text(self.folder / name).strip()


def groups_of(controller: str) -> Iterator[Group]:
    """Those that may limit what `controller` is for, "cpu" or "memory", with those that they are in.

    Both versions are read, as proc(5) and cgroups(7) tell them. What is malformed is left out.
    """
    paths = {
        version: path for line in _text(_PROCESS / "cgroup").splitlines() for version, path in _path(line, controller)
    }
    for line in _text(_PROCESS / "mountinfo").splitlines():
        for version, root, place in _mount(line, controller):
            if version in paths:
                for folder in _nested(paths[version], root, place):
                    yield Group(folder, version)


def _path(line: str, controller: str) -> Iterator[tuple[int, PurePosixPath]]:
    """The version of a group that may have a limit, and its path, of a line such as "4:cpu,cpuacct:/a" or "0::/a"."""
    number, _, rest = line.partition(":")
    controllers, colon, path = rest.partition(":")
    if colon and number == "0" and not controllers:
        yield 2, PurePosixPath(path)
    elif colon and controller in controllers.split(","):
        yield 1, PurePosixPath(path)


def _mount(line: str, controller: str) -> Iterator[tuple[int, PurePosixPath, Path]]:
    """The version of the groups that are mounted, which of them is at the top, and where."""
    first, dash, last = line.partition(" - ")
    before, after = first.split(), last.split()
    if dash and len(before) >= 5 and len(after) >= 3:
        kind = after[0]
        if kind == "cgroup2" or (kind == "cgroup" and controller in after[2].split(",")):
            version = 2 if kind == "cgroup2" else 1
            yield version, PurePosixPath(_unescaped(before[3])), Path(_unescaped(before[4]))


def _nested(path: PurePosixPath, root: PurePosixPath, place: Path) -> list[Path]:
    """The folders of a group and of those that it is in, as far as the mount shows them."""
    # Paths of a container may be those of its machine, where another group is at the top of what is mounted.
    inside = path.relative_to(root) if path.is_relative_to(root) and ".." not in path.parts else PurePosixPath()
    return [place / each for each in (inside, *inside.parents)[:_MOST_NESTED]]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _text(path: Path) -> str:
    """What a file says, "" where it cannot be read."""
    try:
        with path.open(errors="replace") as file:
            return file.read(_MOST_READ)
    except (OSError, ValueError):
        return ""
