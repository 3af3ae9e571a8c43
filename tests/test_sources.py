"""What every source keeps to, whatever it reads."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Frame
from sapiens_stream.sources import Live, Photos, Source, Video, open_source
from tests.media import make_photo, make_video, number_of, picture

COUNT = 30


def photo_folder(folder: Path) -> Path:
    for number in range(COUNT):
        make_photo(folder / f"{number:03d}.jpg", picture(number))
    return folder


def photo_list(folder: Path) -> Path:
    photo_folder(folder / "there")
    listing = folder / "list.txt"
    listing.write_text("".join(f"there/{number:03d}.jpg\n" for number in range(COUNT)))
    return listing


# name -> makes the input of COUNT pictures in a folder, and opens it
SOURCES: dict[str, Callable[[Path], Source]] = {
    "folder": lambda folder: open_source(photo_folder(folder)),
    "folder by opencv": lambda folder: open_source(photo_folder(folder), decoder="opencv"),
    "folder, one worker": lambda folder: open_source(photo_folder(folder), workers=1),
    "list": lambda folder: open_source(photo_list(folder)),
    "glob": lambda folder: open_source(f"{photo_folder(folder)}/*.jpg"),
    "mp4": lambda folder: open_source(make_video(folder / "clip.mp4", frames=COUNT, b_frames=2)),
    "mkv": lambda folder: open_source(make_video(folder / "clip.mkv", codec="ffv1", frames=COUNT)),
    "interlaced ts": lambda folder: open_source(
        make_video(folder / "clip.ts", codec="mpeg2video", interlaced=True, frames=COUNT)
    ),
    "live file": lambda folder: Live(make_video(folder / "clip.mp4", frames=COUNT, rate=Fraction(50)), realtime=True),
    "live graph": lambda folder: open_source(
        f"lavfi:movie={make_video(folder / 'clip.mkv', codec='ffv1', frames=COUNT, rate=Fraction(50))}"
    ),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return SOURCES[request.param](tmp_path)


def test_each_frame_comes_once_in_order(source: Source) -> None:
    with source:
        frames = list(source.frames())
    assert all(isinstance(frame, Frame) for frame in frames)
    taken = [number_of(frame.rgb) for frame in frames]
    assert [frame.index for frame in frames] == list(range(len(taken)))
    assert len({frame.name for frame in frames}) == len(taken)
    if source.info.kind == "live":  # of which a busy machine misses some
        assert taken == sorted(set(taken) & set(range(COUNT)))
    else:
        assert taken == list(range(COUNT))
    assert source.info.frame_count == (None if source.info.kind == "live" else COUNT)


def test_frames_goes_on_where_it_was(source: Source) -> None:
    with source:
        first = next(source.frames())
        second = next(source.frames())
        assert (first.index, second.index) == (0, 1)
        rest = len(list(source.frames()))
        assert rest == COUNT - 2 or (source.info.kind == "live" and rest < COUNT - 2)
        assert list(source.frames()) == []


def test_closing_ends_the_frames(source: Source) -> None:
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []
    assert list(source.frames()) == []


def test_closed_before_the_first_frame(source: Source) -> None:
    frames = source.frames()
    source.close()
    assert list(frames) == []


def test_closed_by_another_thread(source: Source) -> None:
    before = threading.active_count()
    seen = []
    begun = threading.Event()

    def read() -> None:
        for frame in source.frames():
            seen.append(frame)
            begun.set()
            time.sleep(0.01)

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(10)
    source.close()
    reader.join(10)
    assert not reader.is_alive()
    assert 0 < len(seen) < COUNT
    assert threading.active_count() <= before


def test_leaves_nothing_open(source: Source) -> None:
    def pictures() -> set[str]:
        return {each.path for each in psutil.Process().open_files() if "clip" in each.path or ".jpg" in each.path}

    before = pictures()
    list(source.frames())
    del source
    gc.collect()
    assert pictures() <= before
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("photo")]


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("photo.JPG", Photos),
        ("photo.tiff", Photos),
        (".", Photos),
        ("list.TXT", Photos),
        ("*.jpg", Photos),
        ("clip[1].mp4", Video),
        ("2", Video),
        (0, Live),
        ("1", Live),
        ("/dev/video0", Live),
        ("rtsp://127.0.0.1/[1]*.jpg", Live),
        ("lavfi:testsrc2", Live),
    ],
)
def test_the_input_decides_the_source(
    what: str | int, kind: type[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_photo(tmp_path / "photo.JPG", picture(0))
    make_photo(tmp_path / "photo.tiff", picture(0))
    make_photo(tmp_path / "a.jpg", picture(0))
    (tmp_path / "list.TXT").write_text("photo.tiff")
    make_video(tmp_path / "clip.mp4", frames=2).rename("clip[1].mp4")
    shutil.copy("clip[1].mp4", "2")
    with open_source(what) as source:
        assert isinstance(source, kind)
        assert kind is Live or isinstance(next(source.frames()), Frame)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.mp4", None, "No such file"),
        ("gone.jpg", None, "no such file"),
        ("gone.txt", None, "no such file"),
        ("gone*.jpg", None, "matches no photos"),
        ("zero.mp4", b"", "the file is empty"),
        ("text.mp4", b"Dear diary, today I was not a video.\n" * 50, "not a video"),
        ("empty.txt", b"\n  \n", "the list is empty"),
        ("nothing-here", "folder", "no photos"),
    ],
)
def test_what_cannot_be_opened(name: str, content: bytes | str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
        (path / "notes.md").write_text("no photo")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("setting", [{"workers": 0}, {"decoder": "pillow"}])
def test_settings_that_cannot_be(setting: dict[str, object], tmp_path: Path) -> None:
    make_photo(tmp_path / "a.jpg", picture(0))
    with pytest.raises(UsageError, match=str(next(iter(setting.values())))):
        open_source(tmp_path, **setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["video", "photos", "live"])
def test_memory_does_not_grow_with_the_length(kind: str, tmp_path: Path) -> None:
    size = (360, 640)
    if kind != "photos":
        rate = Fraction(400)  # so that it is soon over at its own speed, too
        what = make_video(tmp_path / "clip.mp4", size=size, frames=600, rate=rate, options={"preset": "ultrafast"})
    else:
        for number in range(200):
            if number:
                os.link(tmp_path / "000.jpg", tmp_path / f"{number:03d}.jpg")
            else:
                make_photo(tmp_path / "000.jpg", picture(number, size))
        what = tmp_path
    process = psutil.Process()
    with Live(what, realtime=True) if kind == "live" else open_source(what) as source:
        settled = peak = length = 0
        for frame in source.frames():
            assert isinstance(frame, Frame)
            frame.rgb.sum()
            length += 1
            if frame.index == 60:
                settled = process.memory_info().rss
            if frame.index > 60:
                peak = max(peak, process.memory_info().rss)
    # Kept frames would take 350 kB each as YUV and 690 kB as RGB: over 130 MB in either case.
    grown = (peak - settled) / 2**20
    print(f"{kind}: {grown:.1f} MB more after {length} frames than after 60")
    assert grown < 25


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"decoded": np.zeros((4, 4), np.uint8)},
            r"is \(H, W, 3\) uint8 RGB, or a decoder's frame; got uint8 \(4, 4\)",
        ),
        ({"decoded": np.zeros((0, 4, 3), np.uint8)}, r"is \(H, W, 3\) uint8 RGB.* got uint8 \(0, 4, 3\)"),
        ({"decoded": None}, "got NoneType"),
        ({"name": 5}, "name is a text, such as 'photo'; got 5"),
        ({"time_base": 0.04}, "time_base is a Fraction of a second; got 0.04"),
        ({"time_base": "1/25"}, "time_base is a Fraction of a second; got '1/25'"),
    ],
)
def test_a_frame_of_ones_own_is_checked_where_it_is_made(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Frame(**{"index": 0, "name": "mine", "decoded": np.zeros((4, 4, 3), np.uint8), "pts": 1} | wrong)
