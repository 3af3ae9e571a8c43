"""`sapiens-stream --version`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer


def print_version(
    wanted: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version and end.")] = False,
) -> None:
    """Human body parts in photos and video, with Meta's Sapiens models."""
    if wanted:
        print(f"sapiens-stream {version('sapiens-stream')}")
        raise typer.Exit
