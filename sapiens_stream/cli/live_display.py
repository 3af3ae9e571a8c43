"""What a terminal shows of a live run: one line that is kept current."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.text import Text

from sapiens_stream.cli.console import one_line
from sapiens_stream.cli.display import Display
from sapiens_stream.sources import LiveEvent
from sapiens_stream.viewers.viewer import LiveFigures, Screen

LINE_EVERY = 0.25
PLAIN_LINE_EVERY = 10.0  # seconds, where the output is no terminal


class LiveDisplay(Display):
    """Messages, what befalls the cameras, and a line with the figures."""

    @contextmanager
    def status(self) -> Iterator[Callable[[Screen], None]]:
        """Gives the function that shows a screen's figures while its block runs."""
        if self._quiet:
            yield lambda screen: None
        elif self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False, transient=True) as line:
                yield _every(LINE_EVERY, lambda screen: line.update(_text(screen), refresh=True))
        else:
            yield _every(PLAIN_LINE_EVERY, lambda screen: self._console.print(_text(screen), soft_wrap=True))

    def event(self, event: LiveEvent) -> None:
        """Says what happened to a camera; a loss is reported in any case."""
        if event.kind == "lost":
            self.warn(str(event))
        else:
            self.note(str(event))

    def web_address(self, url: str) -> None:
        """Where the browser preview is, in any case: the address may hold the token that nobody knows otherwise."""
        self._console.print(Text(one_line(f"live at {url}")), soft_wrap=True)


def summary(figures: LiveFigures) -> str:
    """The figures in a line, as they are now."""
    parts = [f"{figures.shown_per_second:.1f} frames/s"]
    if figures.delay_median is not None and figures.delay_p95 is not None:
        parts.append(f"delay {figures.delay_median:.0f} ms (95 % below {figures.delay_p95:.0f})")
    parts.append(f"dropped {figures.dropped} of {figures.received}")
    if figures.shown:
        parts.append(f"carried {100 * figures.carried / figures.shown:.0f} %")
    return ", ".join((*parts, f"model {figures.inferred_per_second:.1f} frames/s"))


def _text(screen: Screen) -> Text:
    line = Text(summary(screen.figures))
    if screen.recording:
        line.append(", recording", style="red")
    if screen.paused:
        line.append(", paused", style="yellow")
    for view in screen.views:
        if view.trouble:
            line.append(one_line(f"; {view.camera}: {view.trouble}"), style="yellow")
    return line


def _every(seconds: float, show: Callable[[Screen], None]) -> Callable[[Screen], None]:
    last = time.monotonic()

    def now_and_then(screen: Screen) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            show(screen)

    return now_and_then
