"""`sapiens-stream video`: video files to overlay videos, masks and JSON."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from sapiens_stream.cli import exit_codes, guesses, options
from sapiens_stream.cli.inference_options import takes_inference
from sapiens_stream.errors import InputError, OutputError, UsageError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.settings import MAX_PIXELS

if TYPE_CHECKING:
    from sapiens_stream.api import Segmenter
    from sapiens_stream.cli.runner import Runner
    from sapiens_stream.sinks import Outputs


@takes_inference()
def video(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Video files, http(s) addresses, or - for standard input.")
    ],
    model: options.ModelOption = "builtin",
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR|FILE", help="Folder for the results; of a single video, or the overlay."
        ),
    ] = Path("output"),
    pull: options.PullOption = False,
    overlay: options.OverlayOption = "video",
    save: options.SaveOption = "classes,json",
    *,
    inference: InferenceOptions,
    steady: options.SteadyOption = 0,
    opacity: options.OpacityOption = 0.5,
    keep_background: options.BackgroundOption = False,
    classes: options.ClassesOption = None,
    regions: options.RegionsOption = "polygons",
    max_pixels: options.MaxPixelsOption = MAX_PIXELS,
    strict: options.StrictOption = False,
    title: options.TitleOption = "result",
    save_format: options.SaveFormatOption = "png",
    codec: Annotated[str, typer.Option("--codec", help="FFmpeg's name of the encoder: libx265, h264_nvenc, ...")] = (
        "libx264"
    ),
    crf: Annotated[
        int | None,
        typer.Option("--crf", min=0, max=63, help="Quality, lower is better.", show_default="the codec's; libx264: 23"),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="Of the encoder: ultrafast to veryslow.")] = "veryfast",
    audio: Annotated[
        Literal["all", "first", "none"], typer.Option("--audio", help="Which sounds of the source to keep.")
    ] = "all",
    no_audio: Annotated[bool, typer.Option("--no-audio", help="The same as --audio none.")] = False,
    contact_sheet: options.ContactSheetOption = False,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Segment videos: an overlay video; masks and a JSON for each frame.

    The overlay has the source's times and size, its sounds, subtitles and chapters.
    """
    audio = "none" if no_audio else audio
    settings = options.for_record(locals(), leave_out=("inputs", "model", "pull", "no_audio", "json", "quiet"))
    guesses.check_model(model)
    overlay_file = _overlay_file(output, inputs, overlay)
    if overlay_file is not None:
        output = output.parent
    if not json and all(map(guesses.missing, inputs)):
        _refuse(inputs)

    # Here, so that --help and a wrong option answer at once.
    from sapiens_stream.cli.address_space import check_address_space
    from sapiens_stream.cli.display import Display
    from sapiens_stream.cli.download import fetch_named
    from sapiens_stream.cli.runner import Runner
    from sapiens_stream.pipeline import Run
    from sapiens_stream.sinks import Outputs, parse_save
    from sapiens_stream.sinks.files import fitting
    from sapiens_stream.sources import Video
    from sapiens_stream.sources.video_input import parse_video, printable

    display = Display(quiet=quiet, json=json)
    runner = Runner(display)
    outputs = Outputs(
        overlay=overlay,
        overlay_file=overlay_file,
        save=parse_save(save),
        opacity=opacity,
        keep_background=keep_background,
        regions=regions,
        title=title,
        save_format=save_format,
        codec=codec,
        crf=crf,
        preset=preset,
        audio=audio,
        contact_sheet=contact_sheet,
    )
    accepted = _without_clashes(inputs, outputs, output, runner)
    segmenter: Segmenter | None = None
    for name in accepted:
        try:
            if problem := guesses.video_problem(name):
                raise InputError(problem)
            source = Video(name, max_pixels=max_pixels)
        except InputError as error:
            runner.reject(printable(name), error)
            continue
        with source:
            if segmenter is None:  # after the first input proved readable: torch and a large model take a while
                if pull:
                    fetch_named(model, quiet=quiet)
                check_address_space()
                from sapiens_stream.api import Segmenter
                from sapiens_stream.people import refiner_for

                segmenter = Segmenter(model, options=inference, warn=display.warn, note=display.note)
                known = segmenter.model.classes
                outputs = replace(outputs, gpu=segmenter.engine.devices[0].index)
                if classes:
                    outputs = replace(outputs, only=known.ids(classes.split(",")))
            stem = parse_video(name).stem
            try:
                sinks = outputs.sinks(output, stem, source.info, known, display.warn)
            except OutputError as refusal:
                runner.reject(source.info.name, refusal)
                continue
            run = Run(
                source,
                segmenter.engine,
                sinks,
                record_path=fitting(output, stem, "_run.json"),
                overwrite=overwrite,
                settings=settings,
                on_skip=runner.skip,
                on_damage=runner.damage,
                strict=strict,
                refiner=refiner_for(segmenter.model, steady=steady),
                note=display.note,
            )
            runner.execute(run, str(overlay_file or output))
        if runner.interrupted:
            break
    raise typer.Exit(runner.exit_code)


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


def _without_clashes(inputs: list[str], outputs: Outputs, root: Path, runner: Runner) -> list[str]:
    """The inputs whose results overwrite neither another's nor an input; the others are named and counted."""
    from sapiens_stream.frame import Skipped
    from sapiens_stream.sources.video_input import parse_video, printable

    originals = {os.path.realpath(name) for name in inputs}
    taken: dict[str, str] = {}
    for name in inputs:
        try:
            stem = parse_video(name).stem
        except InputError as problem:
            runner.reject(printable(name), problem)
            continue
        if stem in taken:
            reason = f"its results would overwrite those of {printable(taken[stem])}; give it another --output"
            runner.skip(Skipped(printable(name), reason))
        elif taking := next((path for path in outputs.paths(root, stem) if os.path.realpath(path) in originals), None):
            runner.skip(Skipped(name, f"{taking} is an input itself; choose another --output"))
        else:
            taken[stem] = name
    return list(taken.values())
