"""The window's own process, which `window.Window` starts: `python -m sapiens_stream.viewers.window.process`.

It must load neither av nor torch: once av is there, cv2.imshow hangs on some systems.

Arguments: a JSON object with "title", "painting" ("opacity", "keep_background", "only"), "memory" (the handle of
`SharedSlots`) and "classes" (title, names, colours). Messages, a line each, come on the standard input: `show SLOT`;
and go to the standard output: `ready`, `free SLOT`, `command NAME`, `failed WHY`. The end of the input ends the
process: the run is over, or was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import cv2

from sapiens_stream.classes import ClassSet
from sapiens_stream.threads import ThreadGroup
from sapiens_stream.viewers.controls import Look, press
from sapiens_stream.viewers.drawing import Drawing, first_size
from sapiens_stream.viewers.viewer import Command
from sapiens_stream.viewers.window.shared_frames import SharedScreen, SharedSlots

_WAIT = 0.01  # seconds for a new screen, before the keys are looked at again
_WORD_LASTS = 1.2  # seconds
_REDRAWN_EVERY = 0.5  # seconds
_KEYPAD = {0xFFAB: "+", 0xFFAD: "-"}  # X11's keysyms
_SMALLEST = 64  # pixels of a side that are worth drawing on


class NewestSlot:
    """The newest screen's slot; one that was never looked at is freed when a newer comes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: int | None = None

    def listen(self) -> None:
        """Reads messages for as long as the run lives, and ends the process with it."""
        try:
            for line in sys.stdin:
                slot = int(line.removeprefix("show "))
                with self._changed:
                    if self._newest is not None:
                        tell(f"free {self._newest}")
                    self._newest = slot
                    self._changed.notify()
        finally:
            os._exit(0)  # at once, whatever the main thread waits for: nothing here needs to be kept

    def take(self, timeout: float) -> int | None:
        """The slot of a screen not seen yet, if one comes within `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None, timeout)
            slot, self._newest = self._newest, None
            return slot


class PreviewWindow:
    """The window: what came last from the run, drawn anew when it, the look or the window's size changes."""

    def __init__(
        self,
        title: str,
        classes: ClassSet,
        *,
        opacity: float,
        keep_background: bool = False,
        only: Sequence[int] | None = None,
    ) -> None:
        self._title = title
        self._classes = classes
        self._look = Look(opacity=opacity)
        self._drawing = Drawing(classes, keep_background=keep_background, only=None if only is None else tuple(only))
        self._screen: SharedScreen | None = None
        self._drawn: tuple[Any, ...] = ()
        self._word, self._word_until = "", 0.0
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)

    def show(self, screen: SharedScreen) -> None:
        if self._screen is None:
            cv2.resizeWindow(self._title, *first_size(screen, self._look))
        self._screen = screen

    def refresh(self) -> None:
        """Draws, if there is anything new to draw, or nothing was drawn for a while: legend and figures lag behind."""
        now = time.monotonic()
        word = self._word if now < self._word_until else ""
        wanted = (self._screen, self._look, self._size(), word, int(now / _REDRAWN_EVERY))
        if self._screen is None or wanted == self._drawn:
            return
        picture = self._drawing.draw(self._screen, self._look, wanted[2], now, word)
        cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._drawn = wanted

    def keys(self) -> Command | None:
        """Lets the window live, and answers a key if one was pressed."""
        code = cv2.waitKeyEx(1)
        if not self._is_open():
            return Command.QUIT
        if code < 0:
            return None
        before = self._look
        answer = press(_character(code), before, self._classes, self._drawing.legend.seen)
        self._look = answer.look
        if answer.word:
            self._word, self._word_until = answer.word, time.monotonic() + _WORD_LASTS
        if self._look.full_screen != before.full_screen:
            mode = cv2.WINDOW_FULLSCREEN if self._look.full_screen else cv2.WINDOW_NORMAL
            cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)
        return answer.command

    def _size(self) -> tuple[int, int]:
        width, height = cv2.getWindowImageRect(self._title)[2:]
        return max(width, _SMALLEST), max(height, _SMALLEST)

    def _is_open(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) > 0
        except cv2.error:  # some backends forget a window that was closed
            return False


def _character(code: int) -> str:
    """A code of `cv2.waitKeyEx` as a character; empty for arrows and the like, which `cv2.waitKey` makes letters."""
    low = code & 0xFFFF  # modifiers stand above
    return _KEYPAD.get(low, chr(low) if low < 256 else "")


def tell(message: str) -> None:
    """Sends the run a line."""
    try:
        print(message, flush=True)
    except OSError:
        os._exit(0)  # nobody is there any more


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's to answer
    settings = json.loads(sys.argv[1])
    slots = SharedSlots.attach(settings["memory"])
    title, names, colours = settings["classes"]
    classes = ClassSet(title, tuple(names), tuple((red, green, blue) for red, green, blue in colours))
    try:
        window = PreviewWindow(settings["title"], classes, **settings["painting"])
        cv2.waitKey(1)
    except cv2.error as error:
        tell("failed " + " ".join(str(error.err or error).split()))
        return
    newest = NewestSlot()
    ThreadGroup().start("run's messages", newest.listen)  # whose end is the process's
    tell("ready")
    held: int | None = None
    while True:
        slot = newest.take(_WAIT)
        if slot is not None:
            window.show(slots.read(slot))
        window.refresh()
        if slot is not None:
            if held is not None:
                tell(f"free {held}")
            held = slot
        command = window.keys()
        if command is not None:
            tell(f"command {command.name}")
        if command is Command.QUIT:
            return


if __name__ == "__main__":
    main()
