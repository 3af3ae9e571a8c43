"""A virtual X display for tests that open windows: keys are pressed on it, windows closed, and it is photographed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

UInt8Array = npt.NDArray[np.uint8]

SIZE = (1280, 800)


class WindowManager(threading.Thread):
    """Maps windows where they ask to be, a moment later, which is all that these tests need of one.

    Where a window is mapped while Qt still makes it, as without a manager, the event of that is lost in one of five on
    a busy machine, and the window is never painted.
    """

    def __init__(self, name: str) -> None:
        from Xlib import X, display

        super().__init__(daemon=True, name="window manager")
        self._x = display.Display(name)
        self._x.set_error_handler(lambda *_: None)  # a window may be gone before it is mapped
        self._x.screen().root.change_attributes(event_mask=X.SubstructureRedirectMask)
        self._x.sync()

    def run(self) -> None:
        from Xlib import X, error

        with contextlib.suppress(error.ConnectionClosedError):  # the display's end
            while True:
                event = self._x.next_event()
                if event.type == X.MapRequest:
                    time.sleep(0.2)
                    event.window.map()
                elif event.type == X.ConfigureRequest:
                    asked = zip(("x", "y", "width", "height"), (X.CWX, X.CWY, X.CWWidth, X.CWHeight), strict=True)
                    event.window.configure(
                        **{what: getattr(event, what) for what, bit in asked if event.value_mask & bit}
                    )
                self._x.flush()


class VirtualDisplay:
    """An X server without a screen; `name` is what DISPLAY is set to."""

    def __init__(self, name: str) -> None:
        from Xlib import display

        self.name = name
        self._x = display.Display(name)
        WindowManager(name).start()

    def screenshot(self) -> UInt8Array:
        """(height, width, 3) uint8 RGB, without the mouse."""
        from Xlib import X

        width, height = SIZE
        image = self._x.screen().root.get_image(0, 0, width, height, X.ZPixmap, 0xFFFFFFFF)
        bgrx = np.frombuffer(image.data, np.uint8).reshape(height, width, 4)
        return np.ascontiguousarray(bgrx[..., 2::-1])

    def press(self, title: str, key: str) -> None:
        """Presses a key, by its X name, in the window called `title`; "C" is with the shift key."""
        from Xlib import XK, X
        from Xlib.ext import xtest

        self._window(title).set_input_focus(X.RevertToPointerRoot, X.CurrentTime)
        code = self._x.keysym_to_keycode(XK.string_to_keysym(key))
        shift = self._x.keysym_to_keycode(XK.XK_Shift_L)
        shifted = self._x.keycode_to_keysym(code, 0) != XK.string_to_keysym(key)
        for event, what in (
            *(((X.KeyPress, shift),) if shifted else ()),
            (X.KeyPress, code),
            (X.KeyRelease, code),
            *(((X.KeyRelease, shift),) if shifted else ()),
        ):
            xtest.fake_input(self._x, event, what)
        self._x.sync()

    def close_window(self, title: str) -> None:
        """Asks the window to close, as its frame's X does."""
        from Xlib.protocol import event

        window = self._window(title)
        atoms = [self._x.intern_atom(name) for name in ("WM_PROTOCOLS", "WM_DELETE_WINDOW")]
        window.send_event(event.ClientMessage(window=window, client_type=atoms[0], data=(32, [atoms[1], 0, 0, 0, 0])))
        self._x.sync()

    def resize_window(self, title: str, width: int, height: int) -> None:
        self._window(title).configure(width=width, height=height)
        self._x.sync()

    def close(self) -> None:
        self._x.close()

    def _window(self, title: str) -> Any:
        for window in self._x.screen().root.query_tree().children:
            if window.get_wm_name() == title:
                return window
        raise AssertionError(f"no window is called {title!r}")


def eventually(what: Callable[[], bool], within: float = 15.0) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + within
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="session")
def virtual_display() -> Iterator[VirtualDisplay]:
    """Skips where there is no Xvfb."""
    if sys.platform != "linux" or not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed (Debian: apt install xvfb)")
    pytest.importorskip("Xlib", reason="python-xlib is not installed")
    screen = "x".join(map(str, SIZE)) + "x24"
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", screen, "-nolisten", "tcp"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        number = server.stdout.readline().strip()
        if not number:
            pytest.skip("Xvfb does not start here")
        display = VirtualDisplay(f":{number}")
        yield display
        with contextlib.suppress(OSError):
            display.close()
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


@pytest.fixture
def on_display(virtual_display: VirtualDisplay, monkeypatch: pytest.MonkeyPatch) -> VirtualDisplay:
    """The display that windows of this test open on."""
    monkeypatch.setenv("DISPLAY", virtual_display.name)
    return virtual_display
