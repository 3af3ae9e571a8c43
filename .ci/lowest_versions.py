"""Prints the requirements of pyproject.toml, those of some extras too, each at its lower bound."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

BOUND = re.compile(r"(?P<name>[\w.-]+)\s*(?:>=|==)\s*(?P<version>[\w.]+)(?:,<[\w.]+)?")

# `==2.13.0` would take a 2.13.0+cpu where there is one, for which PyPI's torchvision is not built; `===` does not.
EXACT = {"torch", "torchvision"}


def lowest(requirement: str) -> str:
    """`name==bound`, or `===`. Raises ValueError for a requirement without a lower bound."""
    match = BOUND.fullmatch(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} has no lower bound of the form NAME>=VERSION")
    return f"{match['name']}{'===' if match['name'] in EXACT else '=='}{match['version']}"


def main(extras: list[str]) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += [each for each in project["optional-dependencies"][extra] if not each.startswith(project["name"])]
    print(*map(lowest, wanted), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
