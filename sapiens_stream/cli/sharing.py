"""The share of a command's inputs that this process takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sapiens_stream.cli import exit_codes
from sapiens_stream.cluster.shards import parse_shard

if TYPE_CHECKING:
    from sapiens_stream.cli.display import Display


def share_of_videos(text: str, inputs: Sequence[str], folder: Path, display: Display) -> list[str]:
    """The videos of the share that `--shard` names; a list of all is put into the folder of the results.

    Ends the program, done, where there are none. Raises UsageError for what is no share.
    """
    shard = parse_shard(text, os.environ)
    from sapiens_stream.cluster.video_shards import Split
    from sapiens_stream.pipeline.input_list import write_input_list

    split = Split(inputs)
    write_input_list(folder, split.asked)
    mine = split.share_of(shard)
    if not mine:
        display.result(f"{shard} holds none of {len(inputs)} videos; nothing to do")
        raise typer.Exit(exit_codes.DONE)
    return mine
