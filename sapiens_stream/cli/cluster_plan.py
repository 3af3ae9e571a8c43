"""`sapiens-stream cluster plan`: what a list of videos will cost, before it is run."""

from __future__ import annotations

import json as json_format
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sapiens_stream.cli import exit_codes, guesses, options
from sapiens_stream.cli.cluster_inputs import InputsArgument, named_in
from sapiens_stream.cli.inference_options import takes_inference
from sapiens_stream.cli.output_options import Choices, outputs_of, takes_outputs
from sapiens_stream.errors import UsageError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.settings import MODEL
from sapiens_stream.threads import apart


@takes_inference()
@takes_outputs("overlay", "save")
def plan(
    inputs: InputsArgument,
    model: options.ModelOption = MODEL,
    gpus: Annotated[int, typer.Option("--gpus", min=1, metavar="N", help="Workers, a GPU each.")] = 1,
    card: Annotated[
        str | None,
        typer.Option("--card", metavar="NAME", help="Estimate for it: h100, a100, l4, ...", show_default="none"),
    ] = None,
    frames_per_second: Annotated[
        float | None,
        typer.Option(
            "--frames-per-second",
            min=0.001,
            metavar="N",
            help="Of one worker, as the record of a run there has it.",
            show_default="measured on this machine",
        ),
    ] = None,
    disk: Annotated[
        float | None,
        typer.Option("--disk", min=0.001, metavar="MB/S", help="What the shared storage reads.", show_default="enough"),
    ] = None,
    *,
    choices: Choices,
    inference: InferenceOptions,
    json: options.JsonAnswerOption = False,
) -> None:
    """Tell what a list of videos will cost.

    Hours, GPU-hours, space and files, and what limits it, by the lengths in the videos' headers. Nothing is segmented
    but, without --card and --frames-per-second, some frames to measure this machine.
    """
    if card is not None and frames_per_second is not None:
        raise UsageError("--card estimates what --frames-per-second says; give one of them")
    if card is not None and (inference.shape or inference.looks_for_people or inference.precision == "fp32"):
        raise UsageError(
            "--card estimates whole pictures in the checkpoint's own shape, in 16 bits; with --shape, --people, --boxes"
            " or --precision fp32 give --frames-per-second as measured with them"
        )
    guesses.check_model(model)

    from sapiens_stream.classes import SAPIENS2
    from sapiens_stream.cli.display import Display
    from sapiens_stream.cluster.cards import estimate
    from sapiens_stream.cluster.listing import entries_of
    from sapiens_stream.cluster.plan import Rates, cost_of, decode_rate, typical
    from sapiens_stream.sources.probe import probe_all

    display = Display(json=json)
    entries, refused = entries_of(named_in(inputs))
    for each in refused:
        display.skipped(each)
    probes = probe_all([each.input for each in entries])
    info = typical(probes)
    sinks = outputs_of(choices).sinks(Path("plan"), "typical", info, SAPIENS2, print)
    if frames_per_second is not None:
        rate, how = frames_per_second, "as given"
    elif card is not None:
        rate, how = estimate(model, card)
    else:
        rate, how = _measured(model, inference), "measured on this machine"
    readable = next((each.input for each, probe in zip(entries, probes, strict=True) if probe.frames), None)
    decode = decode_rate(readable) if readable is not None else None
    cost = cost_of(probes, sinks, Rates(model=rate, decode=decode, disk=disk * 1e6 if disk else None), gpus)
    if json:
        told = {"frames_per_second": round(rate, 3), "how": how, "decode": decode and round(decode, 1)}
        print(json_format.dumps(cost.as_dict() | told))
    else:
        _show(cost.as_dict(), rate, how, decode)
    if refused:
        raise typer.Exit(exit_codes.SOME_SKIPPED)


def _show(cost: dict[str, float], rate: float, how: str, decode: float | None) -> None:
    from sapiens_stream.cli.display import duration
    from sapiens_stream.pipeline.space import byte_size

    unknown = f", {cost['unknown_length']} of unknown length taken for the average" if cost["unknown_length"] else ""
    print(f"{cost['videos']} videos{unknown}: {cost['hours_of_video']:.1f} hours, {cost['frames']} frames")
    print(f"one worker: {rate:.1f} frames/s ({how})")
    if decode is not None:
        print(f"decoding: {decode:.0f} frames/s a worker (measured on this machine, at the beginning of one video)")
    print(f"{cost['gpus']} GPUs: {duration(cost['hours'] * 3600)}, {cost['gpu_hours']:.1f} GPU-hours")
    print(f"to write: about {byte_size(cost['bytes_written'])} in {cost['files']} files")
    print(
        f"to read: {byte_size(cost['bytes_read'])}, {byte_size(cost['disk_bytes_per_second'])} a second while it runs"
    )
    print(f"the limit: {cost['limit']}")


def _measured(model: str, inference: InferenceOptions) -> float:
    """Frames/s of the model alone, on this machine."""
    import numpy as np

    from sapiens_stream.api import Segmenter
    from sapiens_stream.doctor.timing import fastest
    from sapiens_stream.sources.in_memory import frame_of

    with apart(partial(Segmenter, model, options=inference, warn=lambda sentence: None)) as segmenter:
        picture = np.zeros((720, 1280, 3), np.uint8)
        frames = [frame_of(picture) for _ in range(segmenter.engine.batch_size)]
        return len(frames) / fastest(lambda: segmenter.engine.submit(frames).result())
