"""Lines on the terminal: nothing in a name moves the cursor, forges a line of ours, or turns text round."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

_BIDIRECTIONAL = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_LINE_ENDS = (0x2028, 0x2029)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


# C0, DEL and C1 of ISO 6429: terminals obey them; newlines among them could forge a line of the program's own.
_SHOWN = {code: _escape(code) for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDIRECTIONAL, *_LINE_ENDS)} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}

_LONGEST = 20_000  # characters; two of the longest paths, and some words


def one_line(text: str) -> str:
    """`text` with its control characters escaped as Python's `repr` escapes them, and all else as it is; of one that no
    terminal should be given the middle is left out.

    >>> print(one_line("a\\x1b[2J\\nerror: forged"))
    a\\x1b[2J\\nerror: forged
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"
    return text.translate(_SHOWN)


def error(text: str) -> None:
    """The one line that says why the program ends, on standard error."""
    Console(stderr=True, highlight=False).print(Text(one_line(f"error: {text}"), style="red"), soft_wrap=True)
