"""Names that need not be text: a file's may hold any bytes, which Python keeps as halves of characters."""

from __future__ import annotations


def encodable(name: str) -> str:
    r"""`name` with what is no character escaped, as UTF-8, Qt and orjson need it.

    >>> print(encodable("caf\udce9.mp4"))
    caf\udce9.mp4
    """
    return name.encode("utf-8", "backslashreplace").decode()
