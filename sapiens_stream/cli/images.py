"""`sapiens-stream images`: a folder or list of photos, with the original program's command line."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sapiens_stream.cli import exit_codes, guesses, options
from sapiens_stream.cli.inference_options import Precision, takes_inference
from sapiens_stream.cli.output_options import (
    MATTES_OF_PHOTOS,
    Choices,
    needing,
    outputs_of,
    require_people,
    takes_outputs,
)
from sapiens_stream.cli.without_effect import places_of, without_effect
from sapiens_stream.cluster.shards import parse_shard
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.settings import (
    BATCH_OF_PHOTOS,
    MAX_PIXELS,
    MODEL,
    OUTPUT_FOLDER,
    PHOTO_WORKERS,
    RUN_FILE,
    SAVE_OF_PHOTOS,
    STALL_TIMEOUT,
)
from sapiens_stream.sinks import registry
from sapiens_stream.sinks.registry import parse_save

if TYPE_CHECKING:
    from sapiens_stream.api import Segmenter
    from sapiens_stream.cli.display import Display
    from sapiens_stream.sources import Photos


@takes_inference(leave_out=["precision"], batch_size=BATCH_OF_PHOTOS)
@takes_outputs(
    "save",
    "opacity",
    "title",
    "save_format",
    "side_by_side",
    "keep_background",
    "color_by",
    "ids",
    "classes",
    "regions",
    *MATTES_OF_PHOTOS,
    spanning=False,
    save=SAVE_OF_PHOTOS,
)
def images(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL PHOTOS", help=f"MODEL: {options.MODEL_HELP} PHOTOS: the same as --input.", show_default=False
        ),
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option("--input", metavar="DIR|LIST", help="A folder, a .txt list, photos, or a quoted glob."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="The same as MODEL.", show_default=MODEL),
    ] = None,
    output_root: Annotated[
        Path | None,
        typer.Option(
            "--output-root",
            "--output_root",
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the results.",
            show_default="INPUT/output",
        ),
    ] = None,
    pull: options.PullOption = False,
    *,
    choices: Choices,
    inference: InferenceOptions,
    fp16: Annotated[bool, typer.Option("--fp16", help="The same as --precision fp16.")] = False,
    precision: Annotated[
        Precision | None,
        typer.Option(
            "--precision", help="Of the model; auto is fp16 or bf16 on CUDA.", show_default="fp32, as in the original"
        ),
    ] = None,
    num_workers: Annotated[
        int, typer.Option("--num-workers", "--num_workers", min=1, help="Threads that decode, and that write.")
    ] = PHOTO_WORKERS,
    recursive: Annotated[bool, typer.Option("--recursive", help="Take the photos of sub-folders too.")] = False,
    decoder: Annotated[
        Literal["pyav", "opencv"], typer.Option("--decoder", help="opencv gives the original's exact pixels for JPEG.")
    ] = "pyav",
    max_pixels: options.MaxPixelsOption = MAX_PIXELS,
    strict: options.StrictOption = False,
    overwrite: options.OverwriteOption = False,
    resume: options.ResumeOption = False,
    shard: options.ShardOption = None,
    stall_timeout: options.StallOption = STALL_TIMEOUT,
    log: options.LogOption = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Segment photos: an overlay, two masks (.npy) and a JSON for each."""
    settings = options.for_record(locals(), leave_out=("words", "model", "input_", "pull", *options.OF_THE_BATCH))
    options.check_resume(resume, overwrite)
    saved = parse_save(choices["save"], spanning=False)
    require_people(choices, inference)
    model, given = guesses.model_and_photos(words or [], model, input_)
    guesses.check_model(model)
    if fp16 and precision not in (None, "fp16"):
        raise UsageError(f"--fp16 and --precision {precision} contradict each other; give one of them")
    guesses.check_photos(given, output_root)
    share = None if shard is None else parse_shard(shard, os.environ)
    choices["matte"] = _matte_of_photos(choices["matte"])
    wanted = outputs_of(choices, overlay="frames", save=saved)

    # Here, so that --help and a wrong option answer at once.
    from sapiens_stream.cli.batch_runner import batch_runner
    from sapiens_stream.cli.download import fetch_named
    from sapiens_stream.cli.photo_run import PhotoRun
    from sapiens_stream.sinks.files import fitting
    from sapiens_stream.sources.listing import named

    runner = batch_runner(quiet=quiet, json=json, log=log)
    for told in without_effect(choices, places_of(wanted, spanning=False)):
        runner.display.note(told)
    what = named(given)
    folder = _folder(what)
    root = output_root or folder / OUTPUT_FOLDER
    if os.path.realpath(root) == os.path.realpath(folder):
        raise UsageError(f"--output_root {root} is the input folder; results would mix with photos: choose another")
    source = _photos(
        given,
        exclude=root,
        share=share.holds if share is not None else None,
        decoder=decoder,
        workers=num_workers,
        recursive=recursive,
        max_pixels=max_pixels,
        stall_timeout=stall_timeout,
    )
    with source:
        if share is not None and source.is_empty:
            runner.display.result(f"{what}: {share} holds none of its photos; nothing to do")
            raise typer.Exit(exit_codes.DONE)
        if pull:
            fetch_named(model, quiet=quiet)
        stem = Path(os.path.realpath(folder)).name
        if share is not None:  # which has its own record, and files of its own for all of its photos together
            stem = f"{stem}_{share.label}"
        PhotoRun(
            source,
            partial(
                _segmenter, model, needing(inference, wanted, choices), "fp16" if fp16 else precision, runner.display
            ),
            wanted,
            choices,
            root,
            runner,
            stem=stem,
            # Lists, globs and single photos of one folder share it, as long as their results differ.
            own_record=None if Path(what).is_dir() else fitting(root, f"{stem}_{Path(what).stem}", RUN_FILE),
            overwrite=overwrite,
            resume=resume,
            shared=share is not None,
            settings=settings,
            workers=num_workers,
            strict=strict,
        ).execute(stall_timeout=stall_timeout)
    raise typer.Exit(runner.finish())


def _segmenter(model: str, inference: InferenceOptions, precision: Precision | None, display: Display) -> Segmenter:
    """In fp32 unless told otherwise, as the original; a graph that keeps its own precision in that."""
    from sapiens_stream.cli.address_space import check_address_space

    check_address_space()
    from sapiens_stream.api import Segmenter  # torch takes seconds to load
    from sapiens_stream.models import open_model

    opened = open_model(model, inference)
    running = replace(inference.once_open(), precision=precision or ("auto" if opened.fixed_dtype else "fp32"))
    return Segmenter(opened, options=running, warn=display.warn, note=display.note)


def _matte_of_photos(word: str) -> str:
    """Raises UsageError for a matte that is a video."""
    if word == "png":
        return "png8"
    registry.require_known("matte", {word}, spanning=False)
    return word


def _photos(what: str | list[str], **choices: Any) -> Photos:
    from sapiens_stream.sources import Photos

    try:
        return Photos(what, **choices)
    except InputError as error:
        if isinstance(what, str) and (command := guesses.videos_in(Path(what))) is not None:
            raise InputError(f"{error}; for the videos in it: {command}") from None
        raise


def _folder(what: str) -> Path:
    """The folder that an input stands for: itself, or the one that a list, a photo or a glob is in."""
    folder = Path(what)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder
