"""The share of a command's inputs that this process takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sapiens_stream.cli import exit_codes, guesses
from sapiens_stream.cli.output_options import Choices, needing, outputs_of
from sapiens_stream.cluster.shards import parse_shard
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.settings import MATTE
from sapiens_stream.sources.video_input import STANDARD_INPUT

if TYPE_CHECKING:
    from sapiens_stream.cli.display import Display
    from sapiens_stream.cli.video_runs import VideoRuns
    from sapiens_stream.inference.options import InferenceOptions
    from sapiens_stream.sources.parts import Margin


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


def check_chunk(text: str | None, shard: str | None, inputs: Sequence[str], output: Path) -> None:
    """Raises UsageError for a chunk of what has none."""
    if text is None:
        return
    parse_shard(text, os.environ, option="--chunk")
    if shard is not None:
        raise UsageError("--chunk takes a part of one video and --shard some of many; give one of them")
    if len(inputs) != 1 or inputs[0] == STANDARD_INPUT:
        what = "standard input" if inputs == [STANDARD_INPUT] else f"{len(inputs)} inputs"
        raise UsageError(f"--chunk {text}: it is of one video that can be read more than once, not of {what}")
    if guesses.looks_like_video(output) and not output.is_dir():
        raise UsageError(f"-o {output} is an overlay; --chunk writes class maps into a folder, results join all else")


def check_whole(inference: InferenceOptions, choices: Choices) -> None:
    """Raises UsageError where chunks cannot hold what the results are made of."""
    from sapiens_stream.pipeline.part_run import whole_because

    if choices["matte"] != MATTE:
        raise UsageError("--chunk writes class maps alone; a matte is made of them once joined: results render --matte")
    if why := whole_because(needing(inference, outputs_of(choices), choices), choices["classes"]):
        raise UsageError(why)


def execute_chunk(runs: VideoRuns, text: str, inputs: Sequence[str], display: Display, *, margin: Margin) -> None:
    """Runs the chunk that `--chunk` names, of which `margin` is seen too; ends the program, done, where the video has
    not so many."""
    from sapiens_stream.cli.display import counted
    from sapiens_stream.sources.key_frames import find_key_frames

    chunk = parse_shard(text, os.environ, option="--chunk")
    [name] = inputs
    if problem := guesses.video_problem(name):
        raise InputError(problem)
    parts = find_key_frames(name, rate=runs.rate, max_pixels=runs.max_pixels).parts(chunk.count, margin)
    if chunk.number >= len(parts):
        what = counted(len(parts), "chunk")
        display.result(
            f"{name} is cut at key frames that are apart, into {what} of {chunk.count}; nothing to do for {text}"
        )
        raise typer.Exit(exit_codes.DONE)
    runs.execute_part(name, parts[chunk.number])
