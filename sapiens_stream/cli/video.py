"""`sapiens-stream video`: video files to overlay videos, masks and JSON."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from sapiens_stream.cli import exit_codes, guesses, options
from sapiens_stream.cli.inference_options import takes_inference
from sapiens_stream.cli.output_options import (
    OF_VIDEOS,
    Choices,
    needing,
    outputs_of,
    require_people,
    takes_outputs,
)
from sapiens_stream.cli.sharing import check_chunk, check_whole, execute_chunk, share_of_videos
from sapiens_stream.cli.without_effect import places_of, without_effect
from sapiens_stream.errors import UsageError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.settings import MAX_PIXELS, MODEL, OUTPUT_FOLDER, STALL_TIMEOUT

if TYPE_CHECKING:
    from sapiens_stream.api import Segmenter
    from sapiens_stream.cli.display import Display


@takes_inference()
@takes_outputs(*OF_VIDEOS)
def video(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Video files, http(s) addresses, numbered pictures (shot.%04d.exr), or - for standard input.",
        ),
    ],
    model: options.ModelOption = MODEL,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE",
            help="Folder for the results; of a single video also the overlay itself.",
        ),
    ] = Path(OUTPUT_FOLDER),
    pull: options.PullOption = False,
    *,
    choices: Choices,
    inference: InferenceOptions,
    steady: options.SteadyOption = 0,
    every: options.EveryOption = 1,
    fps: options.FpsOption = None,
    max_pixels: options.MaxPixelsOption = MAX_PIXELS,
    strict: options.StrictOption = False,
    overwrite: options.OverwriteOption = False,
    resume: options.ResumeOption = False,
    shard: options.ShardOption = None,
    chunk: options.ChunkOption = None,
    jobs: options.JobsOption = 1,
    stall_timeout: options.StallOption = STALL_TIMEOUT,
    log: options.LogOption = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Segment videos: an overlay; masks and a JSON for each frame.

    The overlay has the source's times and size, its sounds, subtitles and chapters.
    """
    options.check_resume(resume, overwrite)
    require_people(choices, inference)
    settings = options.for_record(locals(), leave_out=("inputs", "model", "pull", *options.OF_THE_BATCH))
    if inference.people != "off" and jobs != 1:
        if jobs != "auto":
            raise UsageError(
                f"--people follows each clip from frame to frame, --jobs {jobs} mixes several; leave one out"
            )
        jobs = 1
    guesses.check_model(model)
    guesses.check_numbered(inputs)
    rate = guesses.rate_of(fps, inputs)
    check_chunk(chunk, shard, inputs, output)
    if chunk is not None:
        check_whole(inference, choices)
    overlay_file = _overlay_file(output, inputs, choices["overlay"])
    # Here, so that --help and a wrong option answer at once.
    from sapiens_stream.cli.batch_runner import batch_runner

    runner = batch_runner(quiet=quiet, json=json, log=log)
    for told in without_effect(choices, places_of(outputs_of(choices))):
        runner.display.note(told)
    folder = output if overlay_file is None else output.parent
    mine = inputs if shard is None else share_of_videos(shard, inputs, folder, runner.display)
    if not json and all(map(guesses.missing, mine)):
        _refuse(mine)

    from sapiens_stream.cli.video_runs import VideoRuns
    from sapiens_stream.sources.video_input import printable

    runs = VideoRuns(
        partial(_open_model, model, inference, choices, runner.display, pull=pull, quiet=quiet),
        choices,
        folder,
        runner,
        overlay_file=overlay_file,
        rate=rate,
        max_pixels=max_pixels,
        steady=steady,
        every=every,
        overwrite=overwrite,
        resume=resume,
        settings=settings,
        strict=strict,
    )
    with closing(runs):
        if chunk is not None:
            from sapiens_stream.pipeline.part_run import margin_of

            margin = margin_of(steady=steady, every=every, people=inference.looks_for_people)
            execute_chunk(runs, chunk, inputs, runner.display, margin=margin)
            raise typer.Exit(runner.exit_code)
        good, bad = runs.inputs(mine, among=inputs)
        runner.begin(len(mine), str(overlay_file or folder), folder, runs.files(good), file=len(inputs) > 1)
        for place, name, problem in bad:
            runner.refuse(place, printable(name), problem)
        runner.look_at_lengths((place, inputs[place]) for place, _ in good)
        runner.run(good, jobs=jobs, stall_timeout=stall_timeout, renew=runs.renew)
    raise typer.Exit(runner.finish())


def _open_model(
    model: str, inference: InferenceOptions, choices: Choices, display: Display, *, pull: bool, quiet: bool
) -> Segmenter:
    from sapiens_stream.cli.address_space import check_address_space
    from sapiens_stream.cli.download import fetch_named

    if pull:
        fetch_named(model, quiet=quiet)
    check_address_space()
    from sapiens_stream.api import Segmenter  # torch takes seconds to load

    options = needing(inference, outputs_of(choices), choices)
    return Segmenter(model, options=options, warn=display.warn, note=display.note)


def _overlay_file(output: Path, inputs: list[str], overlay: str) -> Path | None:
    """The overlay's file where `output` is one, not a folder. Raises UsageError where there can be none."""
    if not guesses.looks_like_video(output) or output.is_dir():
        return None
    if len(inputs) > 1:
        raise UsageError(f"-o {output} is the overlay of one video; {len(inputs)} are given: -o takes a folder then")
    if overlay != "video":
        raise UsageError(f"-o {output} is an overlay video, and --overlay {overlay} asks for none; give -o a folder")
    return output


def _refuse(inputs: list[str]) -> NoReturn:
    """Names what is not there, before anything is loaded."""
    from sapiens_stream.cli.console import error

    for name in inputs:
        error(guesses.video_problem(name) or name)
    raise typer.Exit(exit_codes.FAILED)
