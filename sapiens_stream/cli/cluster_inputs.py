"""What `cluster run` and `cluster plan` take: lists of videos, and videos by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from sapiens_stream.cli import guesses

InputsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="LIST|VIDEO...",
        help="A text file, the path or address of a video a line (s3://, gs://); or the videos themselves.",
    ),
]


def named_in(words: Iterable[str]) -> list[str]:
    """The videos that are named, or listed in what is named, as all machines have them. Raises InputError."""
    from sapiens_stream.cluster.listing import is_remote, read_list
    from sapiens_stream.sources.pattern import parse_pattern

    found: list[str] = []
    for word in words:
        if is_remote(word):
            found.append(word)
        elif guesses.looks_like_video(word) or parse_pattern(word) is not None:
            found.append(os.path.abspath(word))  # noqa: PTH100  # which does away with ".."
        else:
            found += read_list(Path(word))
    return found
