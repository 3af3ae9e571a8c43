"""What to say where a format's library is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sapiens_stream.errors import UsageError
from sapiens_stream.install_line import install_line, pip_install

EXTRA = "export"


@contextmanager
def needing(word: str, *afterwards: str) -> Iterator[None]:
    """Around imports: raises UsageError that says how to install the extra, and after it each of `afterwards`."""
    try:
        yield
    except ImportError as error:
        lines = " && ".join([install_line(EXTRA), *(f"{pip_install()} {each}" for each in afterwards)])
        raise UsageError(f"--to {word} needs the extra {EXTRA}: {lines} ({error})") from error
