"""The last words of the program, apart from its display so that a wrong option is answered at once."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from sapiens_stream.cli.one_line import one_line


def error(text: str) -> None:
    """The one line that says why the program ends, on standard error."""
    Console(stderr=True, highlight=False).print(Text(one_line(f"error: {text}"), style="red"), soft_wrap=True)
