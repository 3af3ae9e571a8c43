"""The browser preview's page, in a real browser that looks at a real server."""

from __future__ import annotations

import base64
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.viewers.viewer import CameraView, Command, LiveFigures, Screen
from sapiens_stream.viewers.web import WebPreview
from tests import media

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("websockets", reason="the extra web is not installed")

from tests.browser import CHROMIUM, chromium

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

SIZE = (180, 320)
HAIR, TORSO = SAPIENS.ids(["hair", "torso"])
CANVAS = "document.querySelector('.tile canvas')"
STATE = "document.getElementById('state').dataset.state"


def segmentation(number, size=SIZE):
    """A picture that bears its number; the lower left quarter is hair, the lower right one torso."""
    height, width = size
    class_map = np.zeros(size, np.uint8)
    class_map[height // 2 :, : width // 2] = HAIR
    class_map[height // 2 :, width // 2 :] = TORSO
    frame = Frame(index=number, name=f"camera/{number:06d}", decoded=media.picture(number % 1000, size))
    return Segmentation(frame=frame, class_map=class_map, classes=SAPIENS)


def one_camera(number):
    return (CameraView(camera="rtsp://door/", latest=segmentation(number)),)


class Run(threading.Thread):
    """Shows 30 screens a second, whose views `views(number)` gives, and obeys."""

    def __init__(self, preview, views):
        super().__init__()
        self.asked = []
        self._preview = preview
        self._views = views
        self._ended = threading.Event()
        self.start()

    def run(self):
        number = 0
        figures = {"received": 1234, "dropped": 12, "shown": 1222, "carried": 611, "shown_per_second": 29.97}
        while not self._ended.wait(1 / 30):
            self.asked += self._preview.commands()
            paused = self.asked.count(Command.PAUSE) % 2 == 1
            recording = self.asked.count(Command.RECORD) % 2 == 1
            number += not paused
            live = LiveFigures(
                model="tiny", device="cpu", delay_median=41.0, parts_median=(("infer", 30.0),), **figures
            )
            self._preview.show(Screen(views=self._views(number), figures=live, paused=paused, recording=recording))

    def end(self):
        self._ended.set()
        self.join()


@contextmanager
def running(views=one_camera, **options):
    """A run and its preview."""
    preview = WebPreview(SAPIENS, **{"port": 0, "opacity": 0.4, **options})
    run = Run(preview, views)
    try:
        yield preview, run
    finally:
        run.end()
        preview.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    with chromium(folder) as page:
        page.downloads = folder
        yield page


@contextmanager
def seen(browser, views=one_camera, **options):
    """The page as it shows a run; nothing may go wrong in its scripts meanwhile, nor be refused by the browser."""
    with running(views, **options) as (preview, run):
        browser.open("about:blank")  # the page of the test before notes that its run has ended
        browser.exceptions.clear()
        browser.look()
        browser.open(preview.url)
        browser.until(f"{CANVAS}?.width > 300 && {STATE} === 'live'")
        yield browser, run
        assert browser.exceptions == []


def shown(page, canvas=CANVAS):
    """What a canvas holds, by default the first camera's, (H, W, 3) RGB."""
    url = page.evaluate(f"{canvas}.toDataURL('image/png')")
    encoded = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def colour_at(page, x, y):
    """The mean colour around a place of the canvas, 0 to 1 across and down."""
    picture = shown(page)
    column, row = int(x * picture.shape[1]), int(y * picture.shape[0])
    return picture[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3).mean(0)


def blend(colour, class_id, opacity):
    return np.array(colour) * (1 - opacity) + np.array(SAPIENS.colours[class_id]) * opacity


RED, BLUE = (200, 30, 30), (30, 30, 200)  # the lower quarters of `media.picture`


def switch(page, class_id):
    page.evaluate(f"document.querySelectorAll('#legend input')[{class_id}].click()")


def click(page, button):
    page.evaluate(f"document.getElementById('{button}').click()")


def test_the_picture_is_painted_and_moves(browser):
    with seen(browser) as (page, _):
        assert colour_at(page, 0.1, 0.65) == pytest.approx(blend(RED, HAIR, 0.4), abs=6)
        assert colour_at(page, 0.9, 0.65) == pytest.approx(blend(BLUE, TORSO, 0.4), abs=6)
        page.evaluate("document.getElementById('opacity').value = 0")
        page.evaluate("document.getElementById('opacity').dispatchEvent(new Event('input'))")
        first = media.number_of(shown(page))
        page.until(f"new Promise((resolve) => setTimeout(() => resolve({STATE} === 'live'), 400))")
        assert media.number_of(shown(page)) > first + 2


def test_the_opacity_is_the_viewers_own(browser):
    with seen(browser) as (page, _):
        for _ in range(6):
            page.press("+")
        assert page.evaluate("document.getElementById('opacity').value") == "100"
        assert colour_at(page, 0.1, 0.65) == pytest.approx(SAPIENS.colours[HAIR], abs=1)
        for _ in range(10):
            page.press("-")
        assert colour_at(page, 0.1, 0.65) == pytest.approx(RED, abs=6)


def test_a_class_is_switched_off_and_painted_as_background(browser):
    with seen(browser) as (page, _):
        switch(page, HAIR)
        assert colour_at(page, 0.1, 0.65) == pytest.approx(blend(RED, 0, 0.4), abs=6)
        switch(page, 0)
        assert colour_at(page, 0.1, 0.65) == pytest.approx(RED, abs=6)
        assert colour_at(page, 0.9, 0.65) == pytest.approx(blend(BLUE, TORSO, 0.4), abs=6)
        click(page, "none")
        assert colour_at(page, 0.9, 0.65) == pytest.approx(BLUE, abs=6)
        click(page, "all")
        assert colour_at(page, 0.1, 0.65) == pytest.approx(blend(RED, HAIR, 0.4), abs=6)


def test_the_page_begins_as_the_run_was_told(browser):
    with seen(browser, keep_background=True, only=(TORSO,), opacity=1.0) as (page, _):
        assert colour_at(page, 0.1, 0.65) == pytest.approx(RED, abs=6)
        assert colour_at(page, 0.9, 0.65) == pytest.approx(SAPIENS.colours[TORSO], abs=1)


def test_side_by_side_goes_across_a_wide_window_and_down_a_tall_one(browser):
    with seen(browser) as (page, _):
        page.press("b")
        page.until(f"{CANVAS}.width === {2 * SIZE[1]} && {CANVAS}.height === {SIZE[0]}")
        assert colour_at(page, 0.05, 0.65) == pytest.approx(RED, abs=6)
        assert colour_at(page, 0.55, 0.65) == pytest.approx(blend(RED, HAIR, 0.4), abs=6)
        page.look(width=500, height=900)
        page.until(f"{CANVAS}.width === {SIZE[1]} && {CANVAS}.height === {2 * SIZE[0]}")


def test_buttons_and_keys_ask_the_run_and_show_its_state(browser):
    with seen(browser) as (page, run):
        click(page, "record")
        page.until(f"{STATE} === 'recording' && document.getElementById('record').ariaPressed === 'true'")
        page.press("p")
        page.until(f"{STATE} === 'paused'")
        page.press("p")
        page.press("r")
        page.until(f"{STATE} === 'live'")
        page.press("s")
        page.press("q")
        page.until("document.getElementById('toast').textContent")
        click(page, "pause")
        page.until(f"{STATE} === 'paused'")
        assert run.asked == [
            Command.RECORD,
            Command.PAUSE,
            Command.PAUSE,
            Command.RECORD,
            Command.SNAPSHOT,
            Command.PAUSE,
        ]


def test_the_picture_is_saved_as_it_is_shown(browser):
    with seen(browser) as (page, _):
        click(page, "pause")
        page.until(f"{STATE} === 'paused'")
        page.press("d")
        page.until("document.getElementById('toast').textContent === 'Picture saved'")
        painted = shown(page)
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 500))")
    (saved,) = page.downloads.glob("sapiens-stream*.png")
    assert np.array_equal(cv2.cvtColor(cv2.imread(str(saved)), cv2.COLOR_BGR2RGB), painted)


def test_figures_areas_and_the_chart_are_shown(browser):
    with seen(browser) as (page, _):
        figure = "document.querySelector('[data-figure={}]').textContent".format
        page.until(f"{figure('shown')} === '30.0'")
        assert page.evaluate(figure("delay")) == "41"
        assert page.evaluate(figure("carried")) == "50.0 %"
        assert page.evaluate(figure("dropped")) == "12 (1.0 %)"
        assert page.evaluate("document.getElementById('what').textContent") == "tiny on cpu"
        shares = "[...document.querySelectorAll('#legend .share')].map((share) => share.textContent)"
        expected = ["25.0 %" if id in (HAIR, TORSO) else "50.0 %" if id == 0 else "" for id in range(len(SAPIENS))]
        page.until(f"JSON.stringify({shares}) === '{str(expected).replace(chr(39), chr(34)).replace(', ', ',')}'")
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 1500))")
        for class_id in (HAIR, TORSO):
            assert (shown(page, "document.getElementById('chart')") == SAPIENS.colours[class_id]).all(2).sum() > 20


def test_cameras_are_tiled_and_trouble_stands_over_the_stale_one(browser):
    stale = segmentation(7)

    def views(number):
        return (
            *one_camera(number),
            CameraView(camera="cam <b>2</b>", latest=stale, trouble="unplugged; trying again in 4 s"),
            CameraView(camera="0"),
        )

    with seen(browser, views) as (page, _):
        tiles = page.evaluate(
            "[...document.querySelectorAll('.tile')].map((tile) => [tile.querySelector('figcaption').textContent, "
            "tile.querySelector('.trouble').hidden ? '' : tile.querySelector('.trouble').textContent, "
            "tile.classList.contains('stale')])"
        )
        assert tiles == [
            ["rtsp://door/", "", False],
            ["cam <b>2</b>", "unplugged; trying again in 4 s", True],
            ["0", "waiting for the first picture", False],
        ]
        assert page.evaluate("document.querySelectorAll('.tile canvas')[1].width") == SIZE[1]


def test_a_lost_connection_is_said_and_made_again(browser):
    with running() as (preview, _):
        browser.open(preview.url)
        browser.until(f"{STATE} === 'live'")
    browser.until(f"{STATE} === 'lost'")
    assert browser.evaluate("document.getElementById('notice').textContent").startswith("The run has ended.")
    assert browser.evaluate("document.getElementById('pause').disabled")
    with running(port=urlsplit(preview.url).port):
        browser.until(f"{STATE} === 'live' && document.getElementById('notice').hidden")


def test_a_run_with_another_token_is_said_until_its_address_is_opened(browser):
    with running(host="0.0.0.0") as (preview, _):
        browser.open(preview.url)
        browser.until(f"{STATE} === 'live'")
    with running(host="0.0.0.0", port=urlsplit(preview.url).port) as (preview, _):
        browser.until("document.getElementById('notice').textContent.includes('open the one')")
        assert browser.evaluate(STATE) == "lost"
        browser.evaluate(f"fetch('{preview.url}')")  # as in another tab: the cookie is the browser's
        browser.until(f"{STATE} === 'live' && document.getElementById('notice').hidden")


def test_the_token_opens_the_page_and_leaves_the_address(browser):
    with seen(browser, host="0.0.0.0") as (page, _):
        assert "token" not in page.evaluate("location.href")
        assert page.evaluate("document.cookie") == ""
        address = page.evaluate("location.href")
        page.open("about:blank")
        page.open(address)
        page.until(f"{STATE} === 'live'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (820, 1180), (1920, 1080)], ids=["phone", "tablet", "desk"])
def test_the_page_fits_every_window(browser, scheme, width, height):
    with seen(browser) as (page, _):
        page.look(width=width, height=height, scheme=scheme, mobile=width < 1000)
        page.until(f"innerWidth === {width}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = page.evaluate(f"{CANVAS}.getBoundingClientRect().toJSON()")
        assert box["width"] > 0.5 * width and 0 < box["top"] < box["bottom"] < height
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (sum(ground) > 384) == (scheme == "light")


def test_everything_comes_from_the_run_itself(browser):
    with seen(browser) as (page, _):
        origins = page.evaluate("performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)")
        assert len(origins) >= 8
        assert set(origins) == {page.evaluate("location.origin")}


def test_every_control_has_a_name_and_is_reached_by_the_keyboard(browser):
    with seen(browser) as (page, _):
        tree = page.call("Accessibility.getFullAXTree")["nodes"]
        controls = {
            node["name"]["value"]
            for node in tree
            if node.get("role", {}).get("value") in ("button", "slider", "checkbox") and not node["ignored"]
        }
        assert {"Pause", "Record", "Snapshot", "Save PNG", "Side by side", "Full screen", "All", "None"} <= controls
        assert any(name.startswith("Hair") for name in controls) and any("Opacity" in name for name in controls)
        assert "" not in controls
        page.evaluate("document.getElementById('pause').focus()")
        names = []
        for _ in range(4):
            page.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
            names.append(page.evaluate("document.activeElement.id"))
        assert names == ["record", "snapshot", "save", "opacity"]
