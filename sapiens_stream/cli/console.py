"""Lines on the terminal: nothing in a name moves the cursor, forges a line of ours, or turns text round."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from sapiens_stream.text import visible

_LONGEST = 20_000  # characters; two of the longest paths, and some words


def one_line(text: str) -> str:
    """`text` with its control characters escaped as Python's `repr` escapes them, and all else as it is; of one that no
    terminal should be given the middle is left out.

    >>> print(one_line("a\\x1b[2J\\nerror: forged"))
    a\\x1b[2J\\nerror: forged
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"
    return visible(text)


def error(text: str) -> None:
    """The one line that says why the program ends, on standard error."""
    Console(stderr=True, highlight=False).print(Text(one_line(f"error: {text}"), style="red"), soft_wrap=True)
