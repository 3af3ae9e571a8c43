"""What a user may name as a video: a file, a pipe, standard input, an address on the web."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.redaction import redacted_text
from sapiens_stream.sources.live.address import parse_address
from sapiens_stream.sources.pattern import parse_pattern

STANDARD_INPUT = "-"

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_WEB = ("http", "https")


@dataclass(frozen=True, kw_only=True)
class VideoInput:
    """A video as it was named. `name` is safe to print, `stem` is what its results are called.

    It has a `path` or a `url`, which may hold credentials, or neither: then it is standard input. The path of numbered
    pictures is their pattern.
    """

    name: str
    stem: str
    path: Path | None = None
    url: str | None = field(default=None, repr=False)


def parse_video(what: str | Path) -> VideoInput:
    """Understands what a user names.

    >>> parse_video("https://me:secret@example.org/talks/My%20talk.mp4?token=abc")
    VideoInput(name='https://example.org/talks/My%20talk.mp4?token=***', stem='My talk', path=None)

    Raises InputError for an address that is no video's.
    """
    if what == STANDARD_INPUT:
        return VideoInput(name="standard input", stem="stdin")
    if isinstance(what, str) and (match := _URL.match(what)):
        return _address(what, match[1].lower())
    path, pattern = Path(what), parse_pattern(what)
    return VideoInput(name=str(path), stem=path.stem if pattern is None else pattern.stem, path=path)


def _address(text: str, scheme: str) -> VideoInput:
    if scheme not in _WEB:
        raise InputError(
            f"{redacted_text(text)}: a video is a file, or at an http or https address; the command live takes streams"
        )
    try:
        address = parse_address(text)
    except UsageError as error:
        raise InputError(str(error)) from None
    last = unquote(urlsplit(address.name).path.rstrip("/").rpartition("/")[2])
    stem = re.sub(r"[\\/\x00-\x1f]+", "_", Path(last).stem).strip(". ") if last.strip(".") else ""
    return VideoInput(name=address.name, stem=stem[:100] or address.stem, url=address.url)


def printable(what: str) -> str:
    """What a user named, with nothing in it that has to stay secret."""
    return redacted_text(what) if "://" in what else what
