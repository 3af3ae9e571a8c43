"""What a live run is seen in: the viewers that were asked for."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from sapiens_stream.errors import DeviceError

if TYPE_CHECKING:
    from sapiens_stream.classes import ClassSet
    from sapiens_stream.cli.live_display import LiveDisplay
    from sapiens_stream.sinks import Outputs
    from sapiens_stream.viewers.viewer import Viewer


def open_viewers(
    stack: ExitStack,
    window: bool | None,
    web: str | None,
    title: str,
    classes: ClassSet,
    outputs: Outputs,
    display: LiveDisplay,
) -> list[Viewer]:
    """Those that were asked for; by default a window where there is a display, and else a word about it."""
    from sapiens_stream.viewers.coloured import coloured

    viewers: list[Viewer] = []
    colouring = outputs.colouring
    classes, only, dressed = colouring.classes(classes), colouring.painted, coloured(colouring)
    if web is not None:
        from sapiens_stream.viewers.web import WebPreview, parse_address

        host, port = parse_address(web)
        preview = WebPreview(
            classes,
            host=host,
            port=port,
            opacity=outputs.opacity,
            keep_background=outputs.keep_background,
            only=only,
            warn=display.warn,
        )
        stack.callback(preview.close)
        viewers.append(dressed(preview))
        display.web_address(preview.url)
    if window or (window is None and web is None):
        from sapiens_stream.viewers.window import Window

        try:
            shown = Window(
                title,
                classes,
                opacity=outputs.opacity,
                keep_background=outputs.keep_background,
                only=only,
            )
        except DeviceError as problem:
            if window:
                raise
            display.note(str(problem))
        else:
            stack.callback(shown.close)
            viewers.append(dressed(shown))
    return viewers
