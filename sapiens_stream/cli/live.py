"""`sapiens-stream live`: cameras in, the picture with its parts out, now."""

from __future__ import annotations

import json as json_format
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand

from sapiens_stream.cli import guesses, options
from sapiens_stream.cli.console import one_line
from sapiens_stream.cli.inference_options import takes_inference
from sapiens_stream.cli.output_options import (
    Choices,
    classes_of,
    outputs_of,
    require_people,
    takes_outputs,
    telling_people,
)
from sapiens_stream.cli.web_address import is_web_address
from sapiens_stream.cli.without_effect import Place, places_of, without_effect
from sapiens_stream.errors import UsageError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.settings import (
    LIVE_PRESET,
    MAX_PIXELS,
    MODEL,
    OUTPUT_FOLDER,
    RECONNECT,
    SAVE_OF_LIVE,
    WEB_HOST,
    WEB_PORT,
    Reconnect,
)
from sapiens_stream.sinks.registry import PAINTED
from sapiens_stream.text import whole_number

if TYPE_CHECKING:
    from sapiens_stream.sinks import Outputs

WEB_DEFAULT = f"{WEB_HOST}:{WEB_PORT}"

_OF_VIEWERS = (*PAINTED, "codec", "regions", "title")
"""What is recorded at their wish, and snapshots, are made by these too."""


class LiveCommand(TyperCommand):
    """Lets `--web` stand without a value: what follows it is one only if it looks like an address, not a source."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for place, word in enumerate(args):
            following = args[place + 1] if place + 1 < len(args) else ""
            if word == "--web" and not is_web_address(following):
                args = [*args[:place], f"--web={WEB_DEFAULT}", *args[place + 1 :]]
        return super().parse_args(ctx, args)


@takes_inference(leave_out=["batch_size", "boxes"])
@takes_outputs(
    "save",
    "opacity",
    "keep_background",
    "color_by",
    "ids",
    "classes",
    "regions",
    "title",
    "codec",
    save=SAVE_OF_LIVE,
)
def live(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Cameras (0, /dev/video0), rtsp, rtmp, http, udp, tcp, srt URLs, screen, lavfi:GRAPH; "
            "files by --realtime.",
        ),
    ] = None,
    model: options.ModelOption = MODEL,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the results.",
            show_default="the recording's, else output",
        ),
    ] = None,
    pull: options.PullOption = False,
    window: Annotated[
        bool | None,
        typer.Option(
            "--window/--no-window",
            help="Show a window.",
            show_default="a window where there is a display, and no --web",
        ),
    ] = None,
    web: Annotated[
        str | None,
        typer.Option("--web", metavar="[HOST][:PORT]", help=f"Show it in a browser, at {WEB_DEFAULT} unless given."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Record the overlay: .mp4, .mov or .mkv; .webm of VP9."),
    ] = None,
    propagate: Annotated[
        bool,
        typer.Option(
            "--propagate/--no-propagate",
            help="Show every frame, the last class map carried along, where the model is slower than the camera.",
        ),
    ] = True,
    steady: Annotated[
        bool,
        typer.Option(
            "--steady/--no-steady",
            help="Class maps that flicker less: a place keeps its class until another is clearly ahead (one device).",
        ),
    ] = True,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration", min=0.0, metavar="SECONDS", help="End after so long.", show_default="when it is stopped"
        ),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option("--max-frames", min=1, help="End once this many were shown.", show_default="any number"),
    ] = None,
    reconnect: Annotated[
        str,
        typer.Option("--reconnect", metavar="N|forever|no", help="How often in a row a lost source is tried again."),
    ] = str(RECONNECT),
    realtime: Annotated[bool, typer.Option("--realtime", help="Take files too, played at their own speed.")] = False,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List the cameras and their formats.")] = False,
    *,
    choices: Choices,
    inference: InferenceOptions,
    max_pixels: options.MaxPixelsOption = MAX_PIXELS,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Show cameras and streams with their parts painted over, now."""
    # A source may hold a password: the record names it without.
    settings = options.for_record(locals(), leave_out=("sources", "model", "pull", "list_devices", "json", "quiet"))
    if list_devices:
        _print_cameras(json=json)
        return
    _check(sources, model, output, realtime=realtime)
    assert sources
    require_people(choices, inference)
    # The overlay is recorded at once, or when a viewer asks for it.
    outputs = outputs_of(choices, overlay="video", overlay_file=record, preset=LIVE_PRESET, audio="none")

    # Here, so that --help and a wrong option answer at once: torch takes seconds to load.
    from sapiens_stream.cli.address_space import check_address_space

    check_address_space()
    from sapiens_stream.api import Segmenter
    from sapiens_stream.cli.download import fetch_named
    from sapiens_stream.cli.live_display import LiveDisplay
    from sapiens_stream.cli.live_outcome import conclude
    from sapiens_stream.cli.live_viewers import open_viewers
    from sapiens_stream.cli.runner import stopped_by_signals
    from sapiens_stream.live import Camera, LiveRun, Recorder, in_background
    from sapiens_stream.sources import Live, parse_address

    display = LiveDisplay(quiet=quiet, json=json)
    places = _places(outputs, window, web, record)
    for told in without_effect(choices, places):
        display.note(told)
    if output is not None and not any(place.asked for place in places):
        display.note(f"-o {output} is of --record, --save, --window or --web, none of which is asked for")
    addresses = [parse_address(each, realtime=realtime) for each in sources]
    open_source = partial(Live, reconnect=_tries(reconnect), max_pixels=max_pixels)
    cameras = [Camera(partial(open_source, address), display.event) for address in addresses]
    if pull:
        fetch_named(model, quiet=quiet)
    inference = telling_people(inference, outputs)
    segmenter = in_background(lambda: Segmenter(model, options=inference, warn=display.warn, note=display.note))
    known = segmenter.model.classes
    outputs = replace(outputs, only=classes_of(choices, known), gpu=segmenter.engine.devices[0].index)
    folder = record.parent if record is not None and output is None else output or Path(OUTPUT_FOLDER)
    with ExitStack() as stack:
        stack.callback(segmenter.close)
        names = ", ".join(address.name for address in addresses)
        viewers = open_viewers(stack, window, web, f"sapiens-stream: {names}", known, outputs, display)
        recorder = Recorder(outputs, folder, cameras, segmenter.model, display.warn)
        run = LiveRun(
            cameras,
            segmenter.engine,
            recorder,
            record_path=recorder.record_path,
            overwrite=overwrite,
            viewers=viewers,
            propagate=propagate,
            steady=steady,
            duration=duration,
            max_frames=max_frames,
            settings=settings,
        )
        with stopped_by_signals(run, display, first_one="closing the files"), display.status() as on_screen:
            run.execute(on_screen)
    raise typer.Exit(conclude(run, cameras, recorder, display))


def _check(sources: list[str] | None, model: str, output: Path | None, *, realtime: bool) -> None:
    """Raises UsageError, or ModelError, for what is known before anything large is loaded."""
    if not sources:
        raise UsageError("no SOURCE; 0 is the first camera, and --list-devices lists them")
    for each in sources:
        if problem := guesses.live_problem(each, realtime=realtime):
            raise UsageError(problem)
    guesses.check_model(model)
    if output is not None and guesses.looks_like_video(output) and not output.is_dir():
        raise UsageError(f"-o {output} is the folder for the results; a recording is --record {output}")


def _places(outputs: Outputs, window: bool | None, web: str | None, record: Path | None) -> list[Place]:
    """What is recorded, shown and saved; a window is asked for unless it is not wanted."""
    written = places_of(outputs)
    recorded = next(each for each in written if each.option == "overlay")
    return [
        replace(recorded, option="record", word=None, asked=record is not None),
        Place("window", None, window is not False, _OF_VIEWERS),
        Place("web", None, web is not None, _OF_VIEWERS),
        *(each for each in written if each.option == "save"),
    ]


def _print_cameras(*, json: bool) -> None:
    """A line each, and below it the formats that it has; or a line of JSON."""
    from sapiens_stream.sources.live.cameras import list_cameras

    cameras = list_cameras()
    if json:
        print(json_format.dumps([asdict(camera) for camera in cameras], default=float))
        return
    if not cameras:
        print("no cameras found")
    for camera in cameras:
        print(one_line(f"{camera.address}  {camera.name}"))
        for mode in camera.modes:
            rates = ", ".join(f"{float(rate):g}" for rate in mode.rates)
            print(f"  {mode.size[1]}x{mode.size[0]} {mode.pixel_format}, {rates} frames/s")


def _tries(text: str) -> Reconnect:
    if (times := whole_number(text)) is not None:
        return times
    if text not in ("forever", "no"):
        raise UsageError(f"--reconnect {text}; there are forever, no, or how many times")
    return cast("Reconnect", text)
