"""`sapiens-stream results join`: the results of a long video, of the chunks that several processes have run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sapiens_stream.cli import exit_codes, options
from sapiens_stream.errors import InputError, OutputError, UsageError


def join(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where `video --chunk I/N` wrote to.")],
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="FILE", help="The video, if it lies elsewhere now; again for each of several."),
    ] = None,
    keep_chunks: Annotated[bool, typer.Option("--keep-chunks", help="Leave the chunks' own files there.")] = False,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Join the chunks of a video, and write all its results.

    They are what a run in one piece would have written. Class maps are not encoded again. No model is loaded.
    """
    # Here, so that --help and a wrong option answer at once.
    from sapiens_stream.cli.display import Display
    from sapiens_stream.cli.runner import Runner
    from sapiens_stream.results import join as joining

    display = Display(quiet=quiet, json=json)
    if joining.is_joined(folder):
        display.result(f"{folder} holds no chunks, and its runs are complete: nothing is left to join")
        raise typer.Exit(exit_codes.DONE)
    runner = Runner(display)
    for chunks in joining.chunks_in(folder, lambda path, error: runner.reject(str(path), error)):
        try:
            run = joining.join(
                chunks,
                partial(joining.open_video_of, chunks, input_ or []),
                partial(joining.outputs_of, chunks),
                overwrite=overwrite,
                on_skip=runner.skip,
                on_damage=runner.damage,
                warn=display.warn,
                note=display.note,
            )
        except (InputError, OutputError, UsageError) as error:
            runner.reject(chunks.input, error)
            continue
        runner.execute(run, str(folder))
        if run.status == "complete" and not keep_chunks:
            chunks.remove()
        if runner.interrupted:
            break
    raise typer.Exit(runner.exit_code)
