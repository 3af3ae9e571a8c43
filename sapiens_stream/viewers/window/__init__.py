"""The preview window, as the run sees it. The window itself lives in a process of its own, `process`."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import Any

import cv2

from sapiens_stream.classes import ClassSet
from sapiens_stream.errors import DeviceError, UsageError, cause
from sapiens_stream.settings import OPACITY
from sapiens_stream.text import encodable
from sapiens_stream.threads import ThreadGroup
from sapiens_stream.viewers.viewer import Command, Screen, Viewer
from sapiens_stream.viewers.window.shared_frames import SLOTS, SharedSlots

_OPENS_WITHIN = 20.0  # seconds, on a machine that is busy loading a model
_CLOSES_WITHIN = 2.0


def display_available() -> bool:
    """Whether a window can be tried: there is a display, and this OpenCV can show windows."""
    return not _no_display()


class Window(Viewer):
    """A window on this machine's display.

    `show` copies a screen into shared memory and returns: about a millisecond at 640x480. Where the window is still
    busy with the ones before, the newest waits, and those between are never painted. `opacity`, `keep_background` and
    `only` (class ids; None: all) are what it begins with; the background looks as in the run's video.

    Raises DeviceError where no window can be opened, UsageError for an opacity outside 0..1.
    """

    def __init__(
        self,
        title: str,
        classes: ClassSet,
        *,
        opacity: float = OPACITY,
        keep_background: bool = False,
        only: tuple[int, ...] | None = None,
    ) -> None:
        if not 0 <= opacity <= 1:
            raise UsageError(f"opacity {opacity} is outside 0 to 1")
        why_not = _no_display()
        if why_not:
            raise _no_window(why_not)
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(SLOTS):
            self._free.put(slot)
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._opened = threading.Event()
        self._refusal = ""
        self._closing = False
        with ExitStack() as undo:
            try:
                self._slots = SharedSlots.create()
                undo.callback(self._slots.close)
                self._errors = undo.enter_context(tempfile.TemporaryFile())  # Qt's chatter is not for the terminal
                self._process = self._start(
                    title, classes, {"opacity": opacity, "keep_background": keep_background, "only": only}
                )
            except OSError as error:
                raise _no_window(cause(error)) from error
            undo.pop_all()
        self._threads = ThreadGroup()
        try:
            self._threads.start("preview window", self._listen)
            self._await_window()
        except BaseException:
            self.close()
            raise

    def show(self, screen: Screen) -> None:
        try:
            slot = self._free.get_nowait()
        except Empty:  # the window does not keep up, or is gone
            return
        self._slots.write(slot, screen)
        self._send(f"show {slot}")

    def commands(self) -> list[Command]:
        commands = []
        while not self._commands.empty():
            commands.append(self._commands.get())
        return commands

    def close(self) -> None:
        self._closing = True
        assert self._process.stdin is not None
        with suppress(OSError):  # it was gone before
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSES_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._threads.close()
        self._slots.close()
        self._errors.close()

    def _start(self, title: str, classes: ClassSet, painting: dict[str, Any]) -> subprocess.Popen[str]:
        settings = {
            "title": encodable(title),
            "painting": painting,
            "memory": self._slots.handle,
            "classes": [classes.title, classes.names, classes.colours],
        }
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if sys.platform == "linux" and os.environ.get("DISPLAY"):
            environment["QT_QPA_PLATFORM"] = "xcb"  # OpenCV's wheels bear no other; a desktop may ask for Wayland's
        return subprocess.Popen(
            [sys.executable, "-m", "sapiens_stream.viewers.window.process", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            pass_fds=self._slots.descriptors,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )

    def _listen(self) -> None:
        """Takes the window's messages in, until it is gone."""
        assert self._process.stdout is not None
        with self._process.stdout as messages:
            for message in messages:
                self._take(*message.strip().partition(" ")[::2])
        failed = self._opened.is_set() and self._ended_badly() and not self._closing
        if failed:
            logging.getLogger(__name__).warning("the preview window failed: %s", self._last_words())
        self._commands.put(Command.LOST if failed else Command.QUIT)
        self._opened.set()

    def _ended_badly(self) -> bool:
        """Whether the process, which says nothing more, failed. One that does not end is killed."""
        try:
            return self._process.wait(_CLOSES_WITHIN) != 0
        except subprocess.TimeoutExpired:
            self._process.kill()
            return True

    def _take(self, verb: str, what: str) -> None:
        """A message that means nothing was cut short, by whatever killed the process."""
        if verb == "free" and what in map(str, range(SLOTS)):
            self._free.put(int(what))
        elif verb == "command" and what in Command.__members__:
            self._commands.put(Command[what])
        elif verb == "failed":
            self._refusal = what
        elif verb == "ready":
            self._opened.set()

    def _await_window(self) -> None:
        if not self._opened.wait(_OPENS_WITHIN):
            raise _no_window(f"none came up within {_OPENS_WITHIN:.0f} seconds")
        if Command.QUIT in (waiting := self.commands()):
            raise _no_window(self._refusal or self._last_words())
        for command in waiting:
            self._commands.put(command)

    def _last_words(self) -> str:
        """From its standard error: the last line of a traceback, or the first of Qt, which says what it lacks."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        if not lines:
            return f"its process ended with {self._process.wait()}"
        return lines[-1 if lines[0].startswith("Traceback") else 0]

    def _send(self, message: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it is gone, which the listener tells
            self._process.stdin.write(message + "\n")
            self._process.stdin.flush()


def _no_display() -> str:
    """Why no window can be shown, as far as can be known without trying; empty if nothing speaks against it."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display (DISPLAY is not set)"
    if not cv2.currentUIFramework():
        return "this OpenCV has no windows (opencv-python-headless is installed in place of opencv-python)"
    return ""


def _no_window(why: str) -> DeviceError:
    return DeviceError(f"no window can be opened: {why}; --web shows the pictures in a browser")
