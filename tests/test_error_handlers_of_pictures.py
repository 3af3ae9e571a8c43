"""Every error that sources and sinks handle beside those of videos, forced once: what is said of it, what it costs."""

from __future__ import annotations

import copy
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.containers.opening import open_again
from sapiens_stream.errors import InputError, OutputError
from sapiens_stream.frame import Frame, Segmentation, Skipped
from sapiens_stream.painting import Painter
from sapiens_stream.sinks import files, pictures
from sapiens_stream.sinks.pictures import PictureSink
from sapiens_stream.sinks.video import mp4
from sapiens_stream.sources import decoding, display_matrix, exif, jpeg, spool
from sapiens_stream.sources.heif_picture import _Assembly
from sapiens_stream.sources.listing import list_photos
from sapiens_stream.sources.live import cameras
from sapiens_stream.sources.live import connection as live_connection
from sapiens_stream.sources.live.connection import Connection
from sapiens_stream.sources.photos import Photos
from sapiens_stream.sources.video import Video
from sapiens_stream.viewers.web import address
from tests.media import make_photo, make_video, picture

NO_MEMORY = av.error.MemoryError(errno.ENOMEM, os.strerror(errno.ENOMEM), "x")
NO_THREAD = av.error.BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), "avcodec_open2")


def opencv_out_of_memory() -> cv2.error:
    error = cv2.error("Failed to allocate 12345 bytes")
    error.code = cv2.Error.STS_NO_MEM
    return error


def always(error: BaseException) -> Callable[..., Any]:
    def call(*arguments: object, **named: object) -> Any:
        raise copy.copy(error)  # the original would keep what the test had open, by its traceback

    return call


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return make_photo(tmp_path / "photo.jpg", picture(7))


def read(folder: Path, **settings: Any) -> list[Frame | Skipped]:
    with Photos(folder, **settings) as source:
        return list(source.frames())


class TestPhotos:
    @pytest.mark.parametrize("error", [MemoryError(), NO_MEMORY, opencv_out_of_memory()])
    def test_memory_that_runs_out_while_decoding_is_said_to_be_that(
        self, photo: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        monkeypatch.setattr(decoding, "_decode", always(error))
        [skipped] = read(photo.parent)
        assert isinstance(skipped, Skipped)
        assert "out of memory" in skipped.reason
        assert "damaged" not in skipped.reason

    def test_another_error_of_opencv_is_no_lack_of_memory(self, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cv2, "imdecode", always(cv2.error("bad")))
        [skipped] = read(photo.parent, decoder="opencv")
        assert isinstance(skipped, Frame), "PyAV reads it"

    def test_memory_that_runs_out_while_reading(self, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "read_bytes", always(MemoryError()))
        [skipped] = read(photo.parent)
        assert isinstance(skipped, Skipped)
        assert skipped.reason == f"out of memory: the file is {photo.stat().st_size} bytes long"

    def test_memory_that_runs_out_in_ffmpeg(self, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Hungry:
            thread_count = 0
            options: dict[str, str] = {}  # noqa: RUF012
            decode = staticmethod(always(NO_MEMORY))

        monkeypatch.setattr(decoding.av.CodecContext, "create", lambda *_: Hungry())
        monkeypatch.setattr(jpeg, "simplejpeg", None)
        [skipped] = read(photo.parent)
        assert isinstance(skipped, Skipped)
        assert "out of memory" in skipped.reason

    def test_without_simplejpeg_ffmpeg_alone_tells_of_damage(
        self, photo: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jpeg, "simplejpeg", None)
        assert not jpeg.is_damaged(photo.read_bytes())
        assert jpeg.as_far_as_it_goes(photo.read_bytes()) is None
        [frame] = read(photo.parent)
        assert isinstance(frame, Frame)

    def test_what_libjpeg_does_not_know_goes_no_way(self) -> None:
        pytest.importorskip("simplejpeg")
        assert jpeg.as_far_as_it_goes(b"\xff\xd8\xff\xe0nothing") is None

    def test_a_list_that_cannot_be_read_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        names = tmp_path / "names.txt"
        names.write_text("a.jpg\n")
        monkeypatch.setattr(Path, "open", always(PermissionError(errno.EACCES, os.strerror(errno.EACCES))))
        with pytest.raises(InputError, match=r"names\.txt: Permission denied"):
            list_photos(names)

    @pytest.mark.parametrize(
        ("kind", "text"),
        [(b"zTXt", b"\x00not deflated"), (b"iTXt", b"\x01\x00en\x00key\x00not deflated")],
    )
    def test_text_that_does_not_inflate_tells_nothing(self, kind: bytes, text: bytes) -> None:
        assert exif._text(kind, text) == b""

    def test_a_raw_profile_that_is_no_hexadecimal_tells_nothing(self) -> None:
        assert exif._raw_profile(b"\nexif\n      4\nzzzz") == b""

    def test_a_tile_that_is_missing_is_damage(self) -> None:
        assembly = SimpleNamespace(_file=SimpleNamespace(items={1: "a"}))
        with pytest.raises(InputError, match="a part of its picture is missing"):
            _Assembly._made_of(assembly, SimpleNamespace(made_of=[1, 2]))  # type: ignore[arg-type]


class TestVideos:
    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (NO_MEMORY, r"clip.*: out of memory after \d+ frames"),
            (NO_THREAD, r"clip.*: no thread can be started: memory, or the number of processes .* is at its limit"),
        ],
    )
    def test_a_decoder_at_a_limit(
        self, error: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=12)
        with Video(clip) as video:
            frames = video.frames()
            first = next(iter(frames))
            assert isinstance(first, Frame)

            class Hungry:
                def __init__(self, packet: Any) -> None:
                    self._packet = packet

                decode = staticmethod(always(error))

            plain = video._demuxer.packets
            monkeypatch.setattr(video._demuxer, "packets", lambda: (Hungry(each) for each in plain()))
            with pytest.raises(InputError, match=told):
                list(video._decoded())

    def test_a_turn_that_pyav_cannot_list_is_taken_from_the_frame(self) -> None:
        class Odd:
            rotation, colorspace = 90, 1

            def reformat(self, *_: Any, **__: Any) -> Any:
                return self

            @property
            def side_data(self) -> Any:
                raise ValueError("no such kind")

        assert display_matrix._upright_turns(Odd()) == (1, False)  # type: ignore[arg-type]

    def test_an_address_that_cannot_be_opened_again_is_no_traceback(self) -> None:
        with pytest.raises(InputError):
            open_again(None, "http://127.0.0.1:1/clip.mp4")

    def test_what_cannot_be_looked_at_is_no_pipe(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="No such file"):
            spool.spool_pipe(tmp_path / "missing")

    def test_a_file_that_is_no_video_is_not_readable(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"nothing")
        assert not mp4.is_readable(tmp_path / "a.mp4")
        assert not mp4.is_readable(tmp_path / "missing.mp4")


class TestLive:
    @pytest.mark.parametrize("error", [ValueError("no cameras"), av.error.ArgumentError(errno.EINVAL, "x", "x")])
    @pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
    def test_a_build_without_cameras_has_none(
        self, monkeypatch: pytest.MonkeyPatch, platform: str, error: Exception
    ) -> None:
        monkeypatch.setattr(cameras.av, "enumerate_input_devices", always(error))
        assert cameras.list_cameras(platform) == []

    def test_a_name_that_nobody_knows_is_told_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lookup = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        monkeypatch.setattr(live_connection.socket, "getaddrinfo", always(lookup))
        where = SimpleNamespace(
            _address=SimpleNamespace(kind="stream", host="nobody.invalid", url="rtsp://nobody.invalid")
        )
        broken = av.error.OSError(errno.EIO, os.strerror(errno.EIO), "x")
        assert Connection._why(where, broken) == "nobody.invalid: Name or service not known"

    def test_a_machine_without_a_network_has_no_outward_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(address.socket.socket, "connect", always(OSError(errno.ENETUNREACH, "unreachable")))
        assert address._outward_address(socket.AF_INET) is None


class TestSinks:
    def test_a_path_that_cannot_be_resolved_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "resolve", always(RuntimeError("Symlink loop")))
        with pytest.raises(OutputError, match=r"a\.png can't be written"):
            files.path_below(tmp_path, "a", ".png")

    def test_a_picture_that_its_format_cannot_hold_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pictures.cv2, "imencode", always(cv2.error("too large")))
        frame = Frame(index=0, name="photo", decoded=picture(7))
        result = Segmentation(frame=frame, class_map=np.zeros(frame.size, np.uint8), classes=SAPIENS, model="toy")
        sink = PictureSink(tmp_path, Painter(SAPIENS), save_format="jpg")
        with pytest.raises(OutputError, match=r"photo\.jpg can't be written: no jpg of \d+x\d+ pixels"):
            sink.write(result)
        assert list(tmp_path.iterdir()) == []
