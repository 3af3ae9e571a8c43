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
