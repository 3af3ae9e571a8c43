"""The last words of the program, apart from its display so that a wrong option is answered at once."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text


def error(text: str) -> None:
    """The one line that says why the program ends, on standard error."""
    Console(stderr=True, highlight=False).print(Text(f"error: {text}", style="red"), soft_wrap=True)


def flush_quietly() -> None:
    """Whoever read standard output may be gone (`| head`); that is no error of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None
