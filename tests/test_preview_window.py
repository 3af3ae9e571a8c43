"""The preview window on a virtual display: what it shows, what its keys do, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from sapiens_stream import DeviceError, Frame, Segmentation, UsageError
from sapiens_stream.classes import SAPIENS
from sapiens_stream.viewers.viewer import CameraView, Command, LiveFigures, Screen
from sapiens_stream.viewers.window import Window, display_available
from sapiens_stream.viewers.window.shared_frames import SLOTS
from tests.display import UInt8Array, VirtualDisplay, eventually

TITLE = "sapiens-stream test"
ROOT = Path(__file__).parents[1]
HAIR = SAPIENS.ids(["hair"])[0]
GREEN, BLUE, GREY = (20, 200, 40), (30, 40, 220), (90, 90, 90)
FIGURES = LiveFigures(model="builtin", device="cpu", shown_per_second=29.9, delay_median=42.0)


def view(
    colour: tuple[int, int, int], size: tuple[int, int] = (480, 640), label: int = 0, **more: object
) -> CameraView:
    """A camera that shows one colour, its left third of the class `label`."""
    rgb = np.full((*size, 3), colour, np.uint8)
    class_map = np.zeros(size, np.uint8)
    class_map[:, : size[1] // 3] = label
    result = Segmentation(frame=Frame(index=0, name="camera", decoded=rgb), class_map=class_map, classes=SAPIENS)
    return CameraView(**{"camera": "0", "latest": result, **more})  # type: ignore[arg-type]


def screen(*views: CameraView, recording: bool = False) -> Screen:
    return Screen(views=views, figures=FIGURES, recording=recording)


def shows(
    display: VirtualDisplay, colour: tuple[int, int, int], at: tuple[int, int], tolerance: int = 3, within: float = 15
) -> bool:
    """Whether the display has the colour at (x, y) before long."""

    def there() -> bool:
        return bool(np.abs(display.screenshot()[at[1], at[0]].astype(int) - colour).max() <= tolerance)

    return eventually(there, within)


def blend(colour: tuple[int, int, int], label: int, opacity: float) -> tuple[int, int, int]:
    mixed = np.array(colour) * (1 - opacity) + np.array(SAPIENS.colours[label]) * opacity
    return int(mixed[0]), int(mixed[1]), int(mixed[2])


def child(window: Window) -> psutil.Process:
    (process,) = [p for p in psutil.Process().children() if "viewers.window.process" in " ".join(p.cmdline())]
    return process


def asks(window: Window, wanted: Command) -> bool:
    return eventually(lambda: wanted in window.commands())


@pytest.fixture
def window(on_display: VirtualDisplay) -> Iterator[Window]:
    window = opened(on_display)
    yield window
    window.close()


def opened(display: VirtualDisplay) -> Window:
    """A window that paints: Qt loses the event of its mapping at times, on a busy machine."""
    for within in (10, 30, 60):  # its process may take seconds to start, too
        window = Window(TITLE, SAPIENS, keep_background=True)
        window.show(screen(view((70, 80, 90))))
        if shows(display, (70, 80, 90), (400, 240), within=within):
            return window
        window.close()
    raise AssertionError("no window paints")


def test_the_windows_process_loads_neither_av_nor_torch() -> None:
    code = (
        "import sys, sapiens_stream.viewers.window.process\n"
        "print(sorted({'av', 'torch', 'rich', 'typer'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


def test_the_picture_and_its_classes_are_shown(on_display: VirtualDisplay, window: Window) -> None:
    window.show(screen(view(GREEN, label=HAIR)))
    assert shows(on_display, GREEN, (400, 240))
    picture = on_display.screenshot()
    assert np.abs(picture[240, 100].astype(int) - blend(GREEN, HAIR, 0.5)).max() <= 3

    def in_legend() -> bool:
        legend = on_display.screenshot()[:480, 640:840].reshape(-1, 3)
        return bool((legend == SAPIENS.colours[HAIR]).all(axis=1).sum() > 100)

    assert eventually(in_legend), "the legend has no swatch of the class"
    bar = picture[480:500, :640]
    assert bar.max() > 180, "the figures are not written below the picture"


def test_a_newer_picture_replaces_the_one_before_also_in_another_size(
    on_display: VirtualDisplay, window: Window
) -> None:
    for size, colour in (((480, 640), GREEN), ((720, 960), BLUE), ((240, 320), GREY), ((2160, 2880), GREEN)):
        window.show(screen(view(colour, size)))
        assert shows(on_display, colour, (400, 240)), f"{size} is not shown"


def test_cameras_are_tiled_and_the_stale_one_is_grey(on_display: VirtualDisplay, window: Window) -> None:
    cameras = [
        view(GREEN, camera="0"),
        view(BLUE, camera="1"),
        view((255, 0, 0), camera="2", trouble="no picture for 3 s"),
        CameraView(camera="3", trouble="refused"),
    ]
    window.show(screen(*cameras))
    assert eventually(lambda: _count(on_display.screenshot(), GREEN) > 20000)
    picture = on_display.screenshot()
    assert _count(picture, BLUE) > 20000
    assert _count(picture, (255, 0, 0)) == 0, "a stale picture looks like a live one"


def test_the_picture_grows_with_the_window(on_display: VirtualDisplay, window: Window) -> None:
    window.show(screen(view(GREEN)))
    assert shows(on_display, GREEN, (400, 240))
    on_display.resize_window(TITLE, 1200, 780)
    assert shows(on_display, GREEN, (900, 400))


def _count(picture: UInt8Array, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - colour).max(axis=2) <= 3).sum())


@pytest.mark.parametrize(
    ("key", "command"),
    [
        ("q", Command.QUIT),
        ("Escape", Command.QUIT),
        ("space", Command.PAUSE),
        ("s", Command.SNAPSHOT),
        ("r", Command.RECORD),
    ],
)
def test_a_key_asks_the_run(on_display: VirtualDisplay, window: Window, key: str, command: Command) -> None:
    window.show(screen(view(GREEN)))
    assert shows(on_display, GREEN, (400, 240))
    on_display.press(TITLE, "Left")  # keys without a meaning ask nothing
    time.sleep(0.1)
    on_display.press(TITLE, key)
    asked: list[Command] = []
    assert eventually(lambda: bool(asked.extend(window.commands()) or asked))
    assert asked[0] is command


def test_keys_change_the_look_without_a_new_picture(on_display: VirtualDisplay, window: Window) -> None:
    window.show(screen(view(GREEN, label=HAIR)))
    inside = (100, 240)
    assert shows(on_display, blend(GREEN, HAIR, 0.5), inside)
    on_display.press(TITLE, "minus")
    assert shows(on_display, blend(GREEN, HAIR, 0.4), inside)
    on_display.press(TITLE, "plus")
    assert shows(on_display, blend(GREEN, HAIR, 0.5), inside)
    on_display.press(TITLE, "b")  # the picture alone at the left, half as large
    assert shows(on_display, GREEN, (40, 240))
    on_display.press(TITLE, "b")
    assert shows(on_display, blend(GREEN, HAIR, 0.5), inside)
    on_display.press(TITLE, "l")  # the picture takes the legend's room
    assert shows(on_display, GREEN, (660, 100))
    assert window.commands() == []


def test_closing_the_window_asks_to_quit(on_display: VirtualDisplay, window: Window) -> None:
    window.show(screen(view(GREEN)))
    assert shows(on_display, GREEN, (400, 240))
    on_display.close_window(TITLE)
    assert asks(window, Command.QUIT)
    window.show(screen(view(BLUE)))  # nobody sees it, and nothing is raised


def test_a_killed_window_is_lost_and_the_run_goes_on(window: Window) -> None:
    window.show(screen(view(GREEN)))
    child(window).kill()
    assert asks(window, Command.LOST)
    for _ in range(2 * SLOTS):
        window.show(screen(view(BLUE)))


def test_ctrl_c_leaves_the_window_to_the_run(on_display: VirtualDisplay, window: Window) -> None:
    child(window).send_signal(signal.SIGINT)
    window.show(screen(view(GREEN)))
    assert shows(on_display, GREEN, (400, 240))
    assert window.commands() == []


def test_a_window_that_hangs_never_holds_the_run_up(on_display: VirtualDisplay, window: Window) -> None:
    window.show(screen(view(GREEN)))
    assert shows(on_display, GREEN, (400, 240))
    process = child(window)
    process.suspend()
    try:
        start = time.monotonic()
        for _ in range(300):
            window.show(screen(view(GREY)))
        assert time.monotonic() - start < 15
    finally:
        process.resume()
    assert shows(on_display, GREY, (400, 240))
    window.show(screen(view(BLUE)))
    assert shows(on_display, BLUE, (400, 240)), "it does not go on where it hung"


def test_a_picture_is_never_painted_while_it_is_written(on_display: VirtualDisplay, window: Window) -> None:
    colours = [(value, 255 - value, 128) for value in range(0, 250, 25)]
    views = [view(colour, (1080, 1440)) for colour in colours]
    torn = 0
    for turn in range(120):
        window.show(screen(views[turn % len(views)]))
        if turn % 12 == 11:
            time.sleep(0.05)
            torn += len(np.unique(on_display.screenshot()[40:400:20, 300].reshape(-1, 3), axis=0)) > 2
    assert torn <= 1  # the X server itself may be photographed between two pictures


def test_the_terminal_stays_clean(on_display: VirtualDisplay, capfd: pytest.CaptureFixture[str]) -> None:
    window = opened(on_display)
    window.show(screen(view(GREEN, label=HAIR)))
    assert shows(on_display, GREEN, (400, 240))
    window.close()
    assert capfd.readouterr() == ("", "")


PARENT = """
import sys, time
import numpy as np
from sapiens_stream import Frame, Segmentation
from sapiens_stream.classes import SAPIENS
from sapiens_stream.viewers.viewer import LiveFigures, Screen, CameraView
from sapiens_stream.viewers.window import Window
window = Window("sapiens-stream orphan", SAPIENS)
frame = Frame(index=0, name="camera", decoded=np.full((480, 640, 3), 99, np.uint8))
result = Segmentation(frame=frame, class_map=np.zeros((480, 640), np.uint8), classes=SAPIENS)
print("open", flush=True)
while True:
    window.show(Screen(views=[CameraView(camera="0", latest=result)], figures=LiveFigures(model="", device="")))
    time.sleep(0.01)
"""


def test_a_killed_run_takes_its_window_along_and_leaves_nothing(on_display: VirtualDisplay, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as errors:
        run = subprocess.Popen(
            [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
        )
    assert run.stdout is not None
    with run.stdout:
        assert run.stdout.readline() == "open\n"
        family = psutil.Process(run.pid).children(recursive=True)
        assert len(family) == 1, "the run has more processes than its window's"
        run.kill()
        run.wait()
    window = family[0]
    try:  # a container's first process may not bury the dead
        assert eventually(lambda: not window.is_running() or window.status() == psutil.STATUS_ZOMBIE, 1.0)
    finally:
        with suppress(psutil.NoSuchProcess):
            window.kill()
    assert log.read_text() == ""


def test_a_title_that_is_no_text_is_escaped(on_display: VirtualDisplay) -> None:
    window = Window("caf\udce9.mp4", SAPIENS)
    window.show(screen(view(GREEN)))
    on_display.close_window(r"caf\udce9.mp4")
    assert asks(window, Command.QUIT)
    window.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a display or no way to tell")
def test_without_a_display_it_says_so_and_offers_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not display_available()
    with pytest.raises(DeviceError, match=r"^no window can be opened: .*DISPLAY is not set.*--web"):
        Window(TITLE, SAPIENS)


def test_without_windows_in_opencv_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")  # as opencv-python-headless answers
    assert not display_available()
    with pytest.raises(DeviceError, match=r"headless.*--web"):
        Window(TITLE, SAPIENS)


@pytest.mark.skipif(sys.platform != "linux", reason="a display of X")
@pytest.mark.skipif(not cv2.currentUIFramework(), reason="this OpenCV has no windows")
def test_a_display_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(DeviceError, match=r"^no window can be opened: [^\n]*:4711[^\n]*--web[^\n]*$"):
        Window(TITLE, SAPIENS)
    assert capfd.readouterr() == ("", "")


def test_an_opacity_outside_its_range_is_refused() -> None:
    with pytest.raises(UsageError, match=r"opacity 1\.5"):
        Window(TITLE, SAPIENS, opacity=1.5)
