"""The browser preview's server: what viewers get, what they may ask, who is let in."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import struct
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from urllib.parse import parse_qs, quote, urlsplit

import av
import cv2
import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import OutputError, UsageError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.install_line import install_line
from sapiens_stream.painting import Painter
from sapiens_stream.viewers.viewer import CameraView, Command, LiveFigures, Screen
from sapiens_stream.viewers.web import WebPreview, parse_address
from tests import media

pytest.importorskip("uvicorn", reason="the extra web is not installed")
websockets = pytest.importorskip("websockets", reason="the extra web is not installed")

from websockets.sync.client import connect  # noqa: E402

from sapiens_stream.viewers.web.broadcast import Broadcast, Closed  # noqa: E402

PATIENCE = 10.0


def segmentation(number=0, size=media.SIZE):
    """A picture that bears its number, and a class map of vertical bands that the number turns by."""
    width = size[1]
    class_map = np.broadcast_to((np.arange(width) * 8 // width + number) % 8, size).astype(np.uint8)
    frame = Frame(index=number, name=f"camera/{number:06d}", decoded=media.picture(number, size))
    return Segmentation(frame=frame, class_map=np.ascontiguousarray(class_map), classes=SAPIENS)


def screen(*latest, trouble=None, **state):
    views = tuple(CameraView(camera=f"camera {place}", latest=one, trouble=trouble) for place, one in enumerate(latest))
    return Screen(views=views, figures=LiveFigures(model="tiny", device="cpu", shown=7), **state)


@dataclass
class Received:
    """A message of the server, decoded: its header, and of each view that came with one its picture and class map."""

    header: dict
    pictures: dict = field(default_factory=dict)
    class_maps: dict = field(default_factory=dict)

    @classmethod
    def of(cls, message):
        (length,) = struct.unpack_from("<I", message)
        received = cls(json.loads(message[4 : 4 + length]))
        offset = 4 + length
        for place, view in enumerate(received.header["views"]):
            if "jpeg" in view:
                jpeg = message[offset : offset + view["jpeg"]]
                offset += view["jpeg"]
                ids = zlib.decompress(message[offset : offset + view["class_map"]])
                offset += view["class_map"]
                received.pictures[place] = rgb_of(jpeg)
                received.class_maps[place] = np.frombuffer(ids, np.uint8).reshape(view["height"], view["width"])
        assert offset == len(message)
        return received

    @property
    def number(self):
        return media.number_of(self.pictures[0])


def rgb_of(jpeg):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


class Watcher:
    """A viewer that is not a browser."""

    def __init__(self, connection):
        self.connection = connection
        self.welcome = json.loads(connection.recv(timeout=PATIENCE))

    def next(self, *, acknowledge=True, timeout=PATIENCE):
        received = Received.of(self.connection.recv(timeout=timeout))
        if acknowledge:
            self.connection.send("ack")
        return received

    def end(self):
        """The code and reason that the server closes with."""
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                self.connection.recv(timeout=PATIENCE)
        return closed.value.rcvd.code, closed.value.rcvd.reason


@contextmanager
def serving(**options):
    preview = WebPreview(SAPIENS, **{"port": 0, **options})
    try:
        yield preview
    finally:
        preview.close()


@contextmanager
def joined(preview, **options):
    """The raw connection of a viewer; `origin` and `host` are the server's own unless given."""
    place = urlsplit(preview.url)
    query = f"?{place.query}" if place.query and options.pop("token", True) else ""
    options = {"origin": f"http://{place.netloc}", "compression": None, **options}
    with connect(f"ws://{place.netloc}/screens{query}", **options) as connection:
        yield connection


@contextmanager
def watching(preview, **options):
    with joined(preview, **options) as connection:
        yield Watcher(connection)


def get(preview, path="/", **headers):
    """Status, headers and body of an answer."""
    place = urlsplit(preview.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def local():
    """A server that only this machine reaches, with a screen to show."""
    with serving() as preview:
        preview.show(screen(segmentation(1)))
        yield preview


@pytest.fixture(scope="module")
def exposed():
    """A server that other machines reach."""
    with serving(host="0.0.0.0") as preview:
        preview.show(screen(segmentation(1)))
        yield preview


# What viewers get


def test_a_viewer_gets_the_classes_and_what_to_begin_with():
    with serving(opacity=0.25, keep_background=True, only=(2, 3)) as preview, watching(preview) as viewer:
        assert (viewer.welcome["opacity"], viewer.welcome["keep_background"]) == (0.25, True)
        assert viewer.welcome["only"] == [2, 3]
        assert [one["name"] for one in viewer.welcome["classes"]] == list(SAPIENS.names)
        assert viewer.welcome["classes"][3]["colour"] == list(SAPIENS.colours[3])


def test_the_picture_its_class_map_and_the_figures_arrive_as_they_were_shown():
    shown = segmentation(613)
    with serving() as preview, watching(preview) as viewer:
        preview.show(screen(shown, recording=True))
        received = viewer.next()
    assert received.number == 613
    assert np.array_equal(received.class_maps[0], shown.class_map)
    assert received.header["figures"]["model"] == "tiny" and received.header["figures"]["shown"] == 7
    assert received.header["recording"] and not received.header["paused"]
    areas = dict(received.header["views"][0]["areas"])
    assert areas == {id: pytest.approx((shown.class_map == id).mean(), abs=1e-4) for id in range(8)}


@pytest.mark.parametrize(
    ("size", "turns", "aspect", "expected"),
    [
        ((96, 160), 0, None, (96, 160)),
        ((720, 1600), 0, None, (576, 1280)),
        ((160, 96), 1, None, (160, 96)),
        ((1600, 1400), 3, None, (1463, 1280)),
        ((96, 160), 0, Fraction(4, 3), (72, 160)),
        ((96, 160), 0, Fraction(8, 9), (96, 142)),
        ((160, 96), 1, Fraction(4, 3), (160, 72)),
        ((1080, 1440), 0, Fraction(4, 3), (720, 1280)),
    ],
    ids=["as it is", "shrunk", "turned", "turned and shrunk", "wide", "narrow", "wide and turned", "wide and shrunk"],
)
@pytest.mark.parametrize("as_video", [True, False], ids=["decoder's frame", "array"])
def test_a_picture_arrives_upright_in_square_pixels_and_no_wider_than_the_limit(
    size, turns, aspect, expected, as_video
):
    whole = segmentation(37, size)
    lying = np.ascontiguousarray(np.rot90(whole.frame.decoded, -turns))
    if as_video:
        lying = av.VideoFrame.from_ndarray(lying, "rgb24").reformat(format="yuv420p")
    frame = Frame(index=0, name="0", decoded=lying, quarter_turns=turns, sample_aspect_ratio=aspect)
    with serving() as preview, watching(preview) as viewer:
        preview.show(screen(Segmentation(frame=frame, class_map=whole.class_map, classes=SAPIENS)))
        received = viewer.next()
    assert received.pictures[0].shape[:2] == received.class_maps[0].shape == expected
    assert received.number == 37
    nearest = cv2.resize(whole.class_map, expected[::-1], interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(received.class_maps[0], nearest)


def test_a_picture_that_stays_is_sent_once_and_its_trouble_with_every_screen():
    stale, moving = segmentation(1), [segmentation(number) for number in range(2, 5)]
    with serving() as preview, watching(preview) as viewer:
        came = []
        for latest in moving:
            preview.show(screen(stale, latest, None, trouble="unplugged"))
            came.append(viewer.next())
        with watching(preview) as later:
            assert set(later.next().pictures) == {0, 1}
    assert [set(received.pictures) for received in came] == [{0, 1}, {1}, {1}]
    assert [media.number_of(received.pictures[1]) for received in came] == [2, 3, 4]
    assert {view["trouble"] for received in came for view in received.header["views"]} == {"unplugged"}
    assert all("areas" in received.header["views"][0] for received in came)
    assert all("areas" not in received.header["views"][2] for received in came)


def test_a_slow_viewer_holds_up_neither_the_run_nor_the_others_and_then_gets_the_newest():
    with serving() as preview, watching(preview) as slow, watching(preview) as quick:
        longest = 0.0
        for number in range(40):
            start = time.perf_counter()
            preview.show(screen(segmentation(number)))
            longest = max(longest, time.perf_counter() - start)
            assert quick.next().number == number
        assert longest < 0.5, "showing waited for a viewer"
        in_flight = [slow.next(acknowledge=False).number for _ in range(2)]
        assert in_flight[0] < in_flight[1] < 10
        with pytest.raises(TimeoutError):
            slow.next(timeout=0.2)
        slow.connection.send("ack")
        assert slow.next().number == 39


def test_many_viewers_get_the_same_newest_screen():
    with serving() as preview, watching(preview) as a, watching(preview) as b, watching(preview) as c:
        for number in (5, 6):
            preview.show(screen(segmentation(number)))
            assert {viewer.next().number for viewer in (a, b, c)} == {number}


def numbered_screen(number):
    return Screen(views=(), figures=LiveFigures(model=str(number), device="cpu"))


def test_a_screen_is_encoded_once_for_all_and_not_at_all_for_nobody():
    encoded = []

    async def scenario():
        broadcast = Broadcast(lambda one: encoded.append(one.figures.model) or one.figures.model)
        for number in (1, 2, 3):
            broadcast.offer(numbered_screen(number))
        await asyncio.sleep(0.05)
        assert encoded == []
        together = await asyncio.gather(*(broadcast.newer_than(0) for _ in range(5)))
        assert {newest.content for newest in together} == {"3"}
        assert (await broadcast.newer_than(0)).content == "3"
        assert encoded == ["3"]
        waiting = asyncio.create_task(broadcast.newer_than(together[0].number))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        broadcast.offer(numbered_screen(4))
        assert (await waiting).content == "4"
        broadcast.close()
        with pytest.raises(Closed):
            await broadcast.newer_than(0)

    asyncio.run(scenario())


def test_screens_that_come_while_one_is_encoded_replace_each_other_and_a_leaver_takes_nothing_away():
    encoded, go_on = [], threading.Event()

    def encode(one):
        encoded.append(one.figures.model)
        assert go_on.wait(PATIENCE)
        return one.figures.model

    async def scenario():
        broadcast = Broadcast(encode)
        broadcast.offer(numbered_screen(1))
        leaver, stayer = (asyncio.create_task(broadcast.newer_than(0)) for _ in range(2))
        await asyncio.sleep(0.05)
        for number in (2, 3, 4):
            broadcast.offer(numbered_screen(number))
        leaver.cancel()
        await asyncio.sleep(0.05)
        go_on.set()
        assert (await stayer).content == "1"
        assert (await broadcast.newer_than(1)).content == "4"

    asyncio.run(scenario())
    assert encoded == ["1", "4"]


# What viewers ask


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_commands_reach_the_run_once_each():
    with serving() as preview, watching(preview) as one, watching(preview) as other:
        asked = []
        for viewer, word in ((one, "pause"), (other, "snapshot"), (one, "record")):
            viewer.connection.send(word)
            wait_for(lambda: asked.extend(more := preview.commands()) or more)
        assert asked == [Command.PAUSE, Command.SNAPSHOT, Command.RECORD]
        assert preview.commands() == []


@pytest.mark.parametrize(
    ("message", "code"),
    [("quit", 1008), ("", 1008), (b"pause", 1008), ("ack", 1008), ("pause" * 100, 1009)],
    ids=["ending the run", "empty", "bytes", "acknowledging nothing", "too long"],
)
def test_a_viewer_who_sends_anything_else_is_shown_out(message, code):
    with serving() as preview, watching(preview) as viewer, watching(preview) as other:
        viewer.connection.send(message)
        assert viewer.end()[0] == code
        assert preview.commands() == []
        preview.show(screen(segmentation(9)))
        assert other.next().number == 9


def test_one_viewer_too_many_is_told_so_until_another_leaves():
    with serving(max_viewers=2) as preview, watching(preview):
        with watching(preview), joined(preview) as late:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                late.recv(timeout=PATIENCE)
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too many viewers")
            assert get(preview, "/stream.mjpg")[0] == 503
        preview.show(screen(segmentation(4)))
        with watching(preview) as viewer:
            assert viewer.next().number == 4


def test_the_end_of_the_run_sends_viewers_away_and_frees_the_port():
    preview = WebPreview(SAPIENS, port=0)
    place = urlsplit(preview.url)
    stream = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    stream.request("GET", "/stream.mjpg")
    with watching(preview) as viewer:
        start = time.perf_counter()
        preview.close()
        assert time.perf_counter() - start < 3
        assert viewer.end() == (1001, "the run has ended")
    stream.getresponse().read()
    stream.close()
    with serving(port=place.port) as again:
        assert get(again)[0] == 200


# The stream for other programs


def parts_of(preview, count, path="/stream.mjpg"):
    """Pictures of the stream, RGB, as a program reads them that goes by the boundary."""
    place = urlsplit(preview.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.headers.get_content_type() == "multipart/x-mixed-replace"
    boundary = answer.headers.get_param("boundary")
    end = f"\r\n--{boundary}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
    received = b"\r\n"
    for _ in range(count + 1):
        while end not in received:
            received += answer.read1()
        picture, _, received = received.partition(end)
        if picture:
            yield rgb_of(picture)
    answer.close()
    connection.close()


def test_the_stream_is_painted_as_the_run_was_told():
    shown = segmentation(3)
    with serving(opacity=0.7, only=(3, 4)) as preview:
        preview.show(screen(None, shown))
        preview.show(screen(segmentation(2), shown))
        (picture,) = parts_of(preview, 1, "/stream.mjpg?camera=1")
    expected = Painter(SAPIENS, opacity=0.7, only=(3, 4)).paint(shown.frame.rgb, shown.class_map)
    assert np.abs(picture.astype(int) - expected).mean() < 6


def test_the_stream_follows_the_run_and_other_programs_read_it():
    with serving(keep_background=True, opacity=0) as preview:
        ended = threading.Event()

        def play():
            for number in range(1000):
                preview.show(screen(segmentation(number)))
                if ended.wait(0.02):
                    break

        player = threading.Thread(target=play)
        player.start()
        try:
            numbers = [media.number_of(picture) for picture in parts_of(preview, 4)]
            with av.open(f"{preview.url}stream.mjpg", format="mpjpeg", timeout=PATIENCE) as container:
                frame = next(container.decode(video=0))
        finally:
            ended.set()
            player.join()
        assert numbers == sorted(set(numbers))
        assert media.number_of(frame.to_ndarray(format="rgb24")) >= numbers[-1]


def test_the_streams_head_alone_takes_no_seat():
    with serving(max_viewers=1) as preview:
        preview.show(screen(segmentation(1)))
        connection = http.client.HTTPConnection(urlsplit(preview.url).netloc, timeout=PATIENCE)
        connection.request("HEAD", "/stream.mjpg")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "multipart/x-mixed-replace; boundary=frame")
        assert len(list(parts_of(preview, 1))) == 1
        connection.close()


@pytest.mark.parametrize("camera", ["1", "-1", "x", "", "99999999999999999999"])
def test_a_camera_that_is_not_there_is_named(local, camera):
    status, _, body = get(local, f"/stream.mjpg?camera={camera}")
    assert (status, body) == (404, f"no camera {camera!r}; there are 1, counted from 0\n".encode())


# Who is let in


@pytest.mark.parametrize(
    ("host", "welcome"),
    [
        ("127.0.0.1", True),
        ("localhost:9000", True),
        ("LOCALHOST", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost@evil.example", False),
        ("evil.example:80@localhost", False),
        ("192.168.1.7", False),
        ("", False),
    ],
)
def test_only_names_of_this_machine_are_answered(local, host, welcome):
    status, _, body = get(local, Host=host)
    assert status == (200 if welcome else 421)
    assert (b"<title>" in body) == welcome


@pytest.mark.parametrize(
    ("host", "welcome"),
    [("192.168.1.7:8000", True), ("[fe80::1]", True), ("evil.example", False)],
)
def test_an_exposed_server_is_also_answered_by_any_address(exposed, host, welcome):
    token = urlsplit(exposed.url).query
    assert get(exposed, f"/main.js?{token}", Host=host)[0] == (200 if welcome else 421)


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "http://localhost", "https://evil.example"]
)
def test_only_the_servers_own_page_may_connect(local, origin):
    with pytest.raises(websockets.InvalidStatus) as refused, joined(local, origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_a_page_under_another_name_of_this_machine_may_connect(local):
    port = urlsplit(local.url).port
    with connect(f"ws://localhost:{port}/screens", origin=f"http://localhost:{port}") as connection:
        assert Watcher(connection).next().number == 1


def test_a_server_for_this_machine_alone_needs_no_token(local):
    assert urlsplit(local.url).query == ""
    assert urlsplit(local.url).hostname == "127.0.0.1"


@pytest.mark.parametrize("path", ["/", "/main.js", "/stream.mjpg", "/nowhere"])
@pytest.mark.parametrize("token", [None, "", "wrong", "\xe9"])
def test_an_exposed_server_tells_nothing_without_the_token(exposed, path, token):
    query = "" if token is None else f"?token={quote(token)}"
    headers = {} if token is None else {"Cookie": f"sapiens_stream_{urlsplit(exposed.url).port}={token}"}
    status, answer, body = get(exposed, path + query, **headers)
    assert status == 403
    assert b"token" in body and b"title" not in body
    assert "Set-Cookie" not in answer


def test_an_exposed_servers_pictures_need_the_token(exposed):
    with pytest.raises(websockets.InvalidStatus) as refused, joined(exposed, token=False):
        pass
    assert refused.value.response.status_code == 403
    with watching(exposed) as viewer:
        assert viewer.next().number == 1


def test_the_printed_address_sets_a_cookie_that_opens_everything_else(exposed):
    place = urlsplit(exposed.url)
    (token,) = parse_qs(place.query)["token"]
    assert len(token) >= 40
    status, headers, _ = get(exposed, f"/?{place.query}")
    assert (status, headers["Location"]) == (303, "/")
    cookie, *attributes = headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
    status, _, body = get(exposed, "/", Cookie=cookie)
    assert status == 200 and b"<title>" in body and token.encode() not in body
    with watching(exposed, token=False, additional_headers={"Cookie": cookie}) as viewer:
        assert viewer.next().number == 1


def test_every_run_has_a_token_of_its_own(exposed):
    with serving(host="0.0.0.0") as other:
        assert urlsplit(other.url).query != urlsplit(exposed.url).query


@pytest.mark.parametrize("path", ["/", "/main.js", "/nowhere", "/stream.mjpg?camera=7"])
def test_every_answer_forbids_what_the_page_does_not_need(local, path):
    _, headers, _ = get(local, path)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/../site.py", "/%2e%2e/site.py", "/page/main.js", "/main.js/", "//etc/passwd", "/index.html"]
)
def test_nothing_but_the_pages_own_files_is_served(local, path):
    assert get(local, path)[0] in (404, 307)


# Where it listens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:9000", ("0.0.0.0", 9000)),
        ("9000", ("127.0.0.1", 9000)),
        (":0", ("127.0.0.1", 0)),
        ("camera.local", ("camera.local", 8000)),
        ("[::1]:81", ("::1", 81)),
        ("::1", ("::1", 8000)),
        ("[::]", ("::", 8000)),
    ],
)
def test_an_address_is_read(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host:",
        "host:port",
        "1:2:3",
        "[::1",
        "[zz]:1",
        "host:65536",
        "h:" + "9" * 5000,
        "http://x:1",
        "a b:1",
        "x:-1",
        "é:1:",
    ],
)
def test_nonsense_for_an_address_is_named(text):
    with pytest.raises(UsageError, match=r"^no (address|port|IPv6 address) [^\n]*$"):
        parse_address(text)


def test_a_port_that_is_taken_is_one_clear_error(local):
    port = urlsplit(local.url).port
    with pytest.raises(OutputError, match=rf"^the browser preview cannot listen on 127.0.0.1:{port}: another program"):
        WebPreview(SAPIENS, port=port)


def test_a_host_that_is_not_this_machines_is_one_clear_error():
    with pytest.raises(OutputError, match=r"^the browser preview cannot listen on 192\.0\.2\.1:8000: [^\n()]+$"):
        WebPreview(SAPIENS, host="192.0.2.1")


def test_an_ipv6_address_is_served():
    try:
        with serving(host="::1") as preview:
            assert preview.url.startswith("http://[::1]:")
            assert get(preview)[0] == 200
    except OutputError as error:
        pytest.skip(f"no IPv6 here: {error}")


def test_a_missing_extra_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=re.escape(f"needs uvicorn: {install_line('web')}")):
        WebPreview(SAPIENS, port=0)
