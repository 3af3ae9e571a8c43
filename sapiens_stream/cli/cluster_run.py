"""`sapiens-stream cluster run`: a list of videos, handed to the workers of a Ray cluster."""

from __future__ import annotations

import json as json_format
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_stream.cli import exit_codes, guesses, options
from sapiens_stream.cli.cluster_inputs import InputsArgument, named_in
from sapiens_stream.cli.inference_options import takes_inference
from sapiens_stream.cli.output_options import OF_VIDEOS, Choices, needing, outputs_of, require_people, takes_outputs
from sapiens_stream.cli.without_effect import places_of, without_effect
from sapiens_stream.errors import cause
from sapiens_stream.home import expanded
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.settings import MAX_PIXELS, MODEL, OUTPUT_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sapiens_stream.cli.display import Display
    from sapiens_stream.cluster.ledger import Ledger
    from sapiens_stream.cluster.listing import Entry
    from sapiens_stream.cluster.ray_run import Progress
    from sapiens_stream.frame import Skipped

CHUNK_MINUTES = 5.0
_TELL_EVERY = 10.0  # seconds
_NOT_OF_RESULTS = frozenset(
    {"inputs", "model", "pull", "address", "workers", "gpus_per_worker", "cpus_per_worker", "chunk_minutes"}
    | {"json", "quiet"}
)
"""What stands in no record: a run of `video` with the same options is the same run."""


@takes_inference()
@takes_outputs(*OF_VIDEOS)
def run(
    inputs: InputsArgument,
    model: options.ModelOption = MODEL,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="DIR|URL", help="A folder that all machines share, or an address."),
    ] = OUTPUT_FOLDER,
    address: Annotated[
        str,
        typer.Option("--address", metavar="auto|local|URL", help="Of the Ray cluster; local: this machine alone."),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", help="At most so many.", show_default="as many as there is room"),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-worker", min=0.0, metavar="N", help="0.5: two share one.", show_default="1, 0 without GPUs"
        ),
    ] = None,
    cpus_per_worker: Annotated[
        float, typer.Option("--cpus-per-worker", min=0.1, metavar="N", help="Cores, to decode and to write.")
    ] = 4.0,
    chunk_minutes: Annotated[
        float,
        typer.Option("--chunk-minutes", min=0.01, metavar="N", help="Longer videos are shared between the workers."),
    ] = CHUNK_MINUTES,
    *,
    choices: Choices,
    inference: InferenceOptions,
    steady: options.SteadyOption = 0,
    every: options.EveryOption = 1,
    fps: options.FpsOption = None,
    max_pixels: options.MaxPixelsOption = MAX_PIXELS,
    strict: options.StrictOption = False,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Segment a list of videos on a Ray cluster.

    What is done already is passed over. A worker, a machine or the power may fail: what it was at is done again, and no
    more. Ctrl-C finishes what is begun.
    """
    settings = options.for_record(locals(), leave_out=_NOT_OF_RESULTS)
    guesses.check_model(model)
    require_people(choices, inference)
    outputs = outputs_of(choices)

    # Here, so that --help and a wrong option answer at once.
    from sapiens_stream.cli.display import Display
    from sapiens_stream.cli.runner import stopped_by_signals
    from sapiens_stream.cluster.ledger import Ledger
    from sapiens_stream.cluster.listing import entries_of
    from sapiens_stream.cluster.ray_run import RayRun, Resources
    from sapiens_stream.cluster.worker import Job
    from sapiens_stream.pipeline.input_list import Asked, write_input_list

    display = Display(quiet=quiet, json=json)
    for told in without_effect(choices, places_of(outputs)):
        display.note(told)
    named = named_in(inputs)
    rate = guesses.rate_of(fps, named)
    entries, refused = entries_of(named)
    for each in refused:
        display.skipped(each)
    ledger = Ledger.of(entries)
    place = output if "://" in output else str(Path(output).absolute())
    job = Job(
        model=_found(model),
        inference=needing(inference, outputs, choices),
        outputs=outputs,
        only=choices["classes"],
        place=place,
        settings=settings,
        chunk_seconds=60 * chunk_minutes,
        steady=steady,
        every=every,
        rate=rate,
        max_pixels=max_pixels,
        strict=strict,
        overwrite=overwrite,
    )
    resources = Resources(cpus=cpus_per_worker, gpus=gpus_per_worker, workers=workers)
    started = time.monotonic()
    running = RayRun(job, ledger, address=address, resources=resources, on_progress=_Teller(display))
    if "://" not in output:
        write_input_list(Path(place), [Asked(each.name, each.shown) for each in entries])
    begun = "no more is handed out, what is begun is finished (again to stop that too)"
    with stopped_by_signals(running, display, first_one=begun):
        running.execute()
    for each in (*ledger.skips, *ledger.given_up):
        display.skipped(each)
    for spoiled in ledger.damages:
        display.damaged(spoiled)
    if "://" not in output:
        _note_given_up(Path(place), entries, ledger.given_up, display)
    ledger.given_up += refused
    _conclude(ledger, time.monotonic() - started, place, display)
    raise typer.Exit(_exit_code(ledger))


class _Teller:
    """Says now and then how it stands."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._told = time.monotonic()
        self._began = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._told < _TELL_EVERY:
            return
        self._told = time.monotonic()
        from sapiens_stream.cli.display import duration

        left = ""
        if progress.stopping:
            left = f", {progress.running} to finish"
        elif progress.done:
            spent = self._told - self._began
            left = f", about {duration(spent / progress.done * (progress.of - progress.done))} to go"
        gpus = f", {progress.gpus} GPUs" if progress.gpus else ""
        self._display.note(
            f"{progress.done} of {progress.of} videos, {progress.nodes} nodes{gpus}, {progress.workers} workers,"
            f" {progress.frames_per_second:.1f} frames/s{left}"
        )


def _note_given_up(folder: Path, entries: Sequence[Entry], given_up: Sequence[Skipped], display: Display) -> None:
    """In the lines of a batch, by which `results status` knows that what has no record is not left to be done."""
    from sapiens_stream.pipeline.batch_file import BatchFile, Ending

    reasons = {each.name: each.reason for each in given_up}
    lines = BatchFile(folder)
    try:
        for index, each in enumerate(entries):
            if (why := reasons.get(each.shown)) is not None:
                lines.append(Ending(index=index, input=each.shown, name=each.name, status="skipped", reason=why))
        lines.settle()
    except OSError as error:
        display.warn(f"{lines.path} can't be written: {cause(error)}")


def _conclude(ledger: Ledger, seconds: float, place: str, display: Display) -> None:
    from sapiens_stream.cli.display import duration
    from sapiens_stream.sources.video_input import printable

    told = {
        "status": "interrupted" if ledger.stopped else "complete",
        "videos": {"done": len(ledger.done), "skipped": len(ledger.given_up), "left": _left(ledger)},
        "frames": ledger.frames,
        "seconds": round(seconds, 3),
        "repeated": ledger.repeated,
        "skipped": [{"name": each.name, "reason": each.reason} for each in (*ledger.skips, *ledger.given_up)],
        "damaged": [{"name": each.name, "reason": each.reason} for each in ledger.damages],
    }
    display.json_line(json_format.dumps(told))
    rest = f", {_left(ledger)} left: start it again to go on" if ledger.stopped and _left(ledger) else ""
    again = f", {ledger.repeated} tasks repeated" if ledger.repeated else ""
    display.result(
        f"{len(ledger.done)} videos, {ledger.frames} frames in {duration(seconds)}"
        f" ({ledger.frames / seconds:.1f} frames/s{again}), in {printable(place)}{rest}"
    )


def _left(ledger: Ledger) -> int:
    return len({each.entry for each in ledger.waiting})


def _exit_code(ledger: Ledger) -> int:
    if ledger.stopped:
        return exit_codes.INTERRUPTED
    if not ledger.done:
        return exit_codes.FAILED
    return exit_codes.SOME_SKIPPED if ledger.given_up or ledger.skips or ledger.damages else exit_codes.DONE


def _found(model: str) -> str:
    """A checkpoint's path as other machines, and other folders, have it too."""
    from sapiens_stream.models import is_path

    return str(expanded(model).absolute()) if is_path(model) else model
