"""Names and numbers that others wrote: a file's name may hold any bytes, which Python keeps as halves of characters."""

from __future__ import annotations

_MOST_DIGITS = 18


def encodable(name: str) -> str:
    r"""`name` with what is no character escaped, as UTF-8, Qt and orjson need it.

    >>> print(encodable("caf\udce9.mp4"))
    caf\udce9.mp4
    """
    return name.encode("utf-8", "backslashreplace").decode()


def whole_number(text: str) -> int | None:
    """The number that a text is; None for any other text, and of more than 18 digits: Python refuses thousands.

    >>> whole_number("012"), whole_number("-1"), whole_number("9" * 5000)
    (12, None, None)
    """
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


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


def visible(text: str) -> str:
    r"""`text` with its control characters, and those that turn text round, escaped as Python's `repr` escapes them.

    >>> print(visible("a\x1b[2J\nb"))
    a\x1b[2J\nb
    """
    return text.translate(_SHOWN)
