"""`sapiens-stream live`: cameras in, the picture with its parts out, now."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand

from sapiens_stream.cli import exit_codes, guesses, options
from sapiens_stream.cli.inference_options import takes_inference
from sapiens_stream.cli.one_line import one_line
from sapiens_stream.cli.web_address import is_web_address
from sapiens_stream.errors import DeviceError, InputError, UsageError, cause
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.settings import MAX_PIXELS

if TYPE_CHECKING:
    from sapiens_stream.classes import ClassSet
    from sapiens_stream.cli.live_display import LiveDisplay
    from sapiens_stream.live import Camera, LiveRun, Recorder
    from sapiens_stream.settings import Reconnect
    from sapiens_stream.sinks import Outputs
    from sapiens_stream.viewers.viewer import Viewer

WEB_DEFAULT = "127.0.0.1:8000"
RECORDINGS = (".mp4", ".mov", ".mkv")
PRESET = "superfast"


class LiveCommand(TyperCommand):
    """Lets `--web` stand without a value: what follows it is one only if it looks like an address, not a source."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for place, word in enumerate(args):
            following = args[place + 1] if place + 1 < len(args) else ""
            if word == "--web" and not is_web_address(following):
                args = [*args[:place], f"--web={WEB_DEFAULT}", *args[place + 1 :]]
        return super().parse_args(ctx, args)


@takes_inference(leave_out=["batch_size", "boxes"])
def live(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Cameras (0, /dev/video0), rtsp, http, udp, tcp, srt URLs, screen, lavfi:GRAPH; files by --realtime.",
        ),
    ] = None,
    model: options.ModelOption = "builtin",
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
        Path | None, typer.Option("--record", metavar="FILE", help="Record the overlay: .mp4, .mov or .mkv.")
    ] = None,
    save: options.SaveOption = "none",
    propagate: Annotated[
        bool,
        typer.Option(
            "--propagate/--no-propagate",
            help="Show every frame, the last class map carried along, where the model is slower than the camera.",
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
    ] = "forever",
    realtime: Annotated[bool, typer.Option("--realtime", help="Take files too, played at their own speed.")] = False,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List the cameras and their formats.")] = False,
    *,
    inference: InferenceOptions,
    opacity: options.OpacityOption = 0.5,
    keep_background: options.BackgroundOption = False,
    classes: options.ClassesOption = None,
    regions: options.RegionsOption = "polygons",
    title: options.TitleOption = "result",
    max_pixels: options.MaxPixelsOption = MAX_PIXELS,
    codec: Annotated[str, typer.Option("--codec", help="FFmpeg's name of the encoder: h264_nvenc, ...")] = "libx264",
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Show cameras and streams with their parts painted over, now."""
    # A source may hold a password: the record names it without.
    settings = options.for_record(locals(), leave_out=("sources", "model", "pull", "list_devices", "json", "quiet"))
    if list_devices:
        _print_cameras()
        return
    if not sources:
        raise UsageError("no SOURCE; 0 is the first camera, and --list-devices lists them")
    for each in sources:
        if problem := guesses.live_problem(each, realtime=realtime):
            raise UsageError(problem)
    guesses.check_model(model)
    if output is not None and guesses.looks_like_video(output) and not output.is_dir():
        raise UsageError(f"-o {output} is the folder for the results; a recording is --record {output}")
    if record is not None and record.suffix not in RECORDINGS:
        raise UsageError(f"can't record to {record}; its ending is one of {', '.join(RECORDINGS)}")

    # Here, so that --help and a wrong option answer at once: torch takes seconds to load.
    from sapiens_stream.cli.address_space import check_address_space

    check_address_space()
    from sapiens_stream.api import Segmenter
    from sapiens_stream.cli.download import fetch_named
    from sapiens_stream.cli.live_display import LiveDisplay
    from sapiens_stream.cli.runner import stopped_by_signals
    from sapiens_stream.live import Camera, LiveRun, Recorder, in_background
    from sapiens_stream.sinks import Outputs, parse_save
    from sapiens_stream.sources import Live, parse_address

    display = LiveDisplay(quiet=quiet, json=json)
    addresses = [parse_address(each, realtime=realtime) for each in sources]
    open_source = partial(Live, reconnect=_tries(reconnect), max_pixels=max_pixels)
    cameras = [Camera(partial(open_source, address), display.event) for address in addresses]
    kinds = parse_save(save)
    if pull:
        fetch_named(model, quiet=quiet)
    segmenter = in_background(lambda: Segmenter(model, options=inference, warn=display.warn, note=display.note))
    known = segmenter.model.classes
    folder = record.parent if record is not None and output is None else output or Path("output")
    outputs = Outputs(
        overlay="video",
        overlay_file=record,
        save=kinds,
        opacity=opacity,
        keep_background=keep_background,
        only=known.ids(classes.split(",")) if classes else None,
        regions=regions,
        title=title,
        codec=codec,
        preset=PRESET,
        audio="none",
        gpu=segmenter.engine.devices[0].index,
    )
    with ExitStack() as stack:
        names = ", ".join(address.name for address in addresses)
        viewers = _viewers(stack, window, web, f"sapiens-stream: {names}", known, outputs, display)
        recorder = Recorder(outputs, folder, cameras, segmenter.model, display.warn)
        run = LiveRun(
            cameras,
            segmenter.engine,
            recorder,
            record_path=recorder.record_path,
            overwrite=overwrite,
            viewers=viewers,
            propagate=propagate,
            duration=duration,
            max_frames=max_frames,
            settings=settings,
        )
        with stopped_by_signals(run, display), display.status() as on_screen:
            run.execute(on_screen)
    raise typer.Exit(_conclude(run, cameras, recorder, display))


def _viewers(
    stack: ExitStack,
    window: bool | None,
    web: str | None,
    title: str,
    classes: ClassSet,
    outputs: Outputs,
    display: LiveDisplay,
) -> list[Viewer]:
    """Those that were asked for; by default a window where there is a display, and else a word about it."""
    viewers: list[Viewer] = []
    if web is not None:
        from sapiens_stream.viewers.web import WebPreview, parse_address

        host, port = parse_address(web)
        preview = WebPreview(
            classes,
            host=host,
            port=port,
            opacity=outputs.opacity,
            keep_background=outputs.keep_background,
            only=outputs.only,
            warn=display.warn,
        )
        stack.callback(preview.close)
        viewers.append(preview)
        display.web_address(preview.url)
    if window or (window is None and web is None):
        from sapiens_stream.viewers.window import Window

        try:
            shown = Window(
                title,
                classes,
                opacity=outputs.opacity,
                keep_background=outputs.keep_background,
                only=outputs.only,
            )
        except DeviceError as problem:
            if window:
                raise
            display.note(str(problem))
        else:
            stack.callback(shown.close)
            viewers.append(shown)
    return viewers


def _conclude(run: LiveRun, cameras: Sequence[Camera], recorder: Recorder, display: LiveDisplay) -> int:
    """Says how it went, and the exit code of that."""
    from sapiens_stream.cli.console import error
    from sapiens_stream.cli.display import duration
    from sapiens_stream.pipeline.record import as_line

    display.json_line(as_line(run.record()))
    if run.error is not None:
        raise run.error
    for camera in cameras:
        if camera.failure is not None:
            if not isinstance(camera.failure, InputError):
                raise camera.failure
            error(cause(camera.failure))
        elif not camera.received:
            error(f"{camera.name}: no picture came" + (f": {camera.events[-1][1].reason}" if camera.events else ""))
    metrics = run.metrics
    figures = metrics.figures()
    if figures.shown:
        per_second = figures.shown / metrics.elapsed
        delays = metrics.delays.as_dict()["total"]
        place = f", in {_places(recorder)}" if run.wrote else ""
        display.result(
            f"{figures.shown} frames shown in {duration(metrics.elapsed)} ({per_second:.1f} frames/s, delay "
            f"{delays['median']:.0f} ms, 95 % below {delays['p95']:.0f}), dropped {figures.dropped} of "
            f"{figures.received}, carried {100 * figures.carried / figures.shown:.0f} %{place}"
        )
    if run.status == "interrupted":
        return exit_codes.INTERRUPTED
    spoiled = [camera for camera in cameras if camera.failure is not None or not camera.received]
    if len(spoiled) == len(cameras):
        return exit_codes.FAILED
    return exit_codes.SOME_SKIPPED if spoiled else exit_codes.DONE


def _places(recorder: Recorder) -> str:
    return " and ".join(str(folder if folder != Path() else Path.cwd()) for folder in recorder.folders)


def _tries(text: str) -> Reconnect:
    if text.isdecimal():
        return int(text)
    if text not in ("forever", "no"):
        raise UsageError(f"--reconnect {text}; there are forever, no, or how many times")
    return cast("Reconnect", text)


def _print_cameras() -> None:
    from sapiens_stream.sources.live.cameras import list_cameras

    cameras = list_cameras()
    if not cameras:
        print("no cameras found")
    for camera in cameras:
        print(one_line(f"{camera.address}  {camera.name}"))
        for mode in camera.modes:
            rates = ", ".join(f"{float(rate):g}" for rate in mode.rates)
            print(f"  {mode.size[1]}x{mode.size[0]} {mode.pixel_format}, {rates} frames/s")
