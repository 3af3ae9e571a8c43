"""What is named as a video: odd names, tags in any encoding, lists of other files, pipes, addresses."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from sapiens_stream.containers.opening import file_url, open_file
from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame
from sapiens_stream.sinks.video.overlay import OverlayVideo
from sapiens_stream.sources import Video, open_source, spool
from sapiens_stream.sources.video_input import parse_video
from tests.media import make_video, number_of
from tests.test_overlay_video import UNTOUCHED, background

FRAMES = 5


def overlay_of(what: str | Path, folder: Path) -> tuple[list[Frame], Path]:
    """The frames of a video, and its overlay."""
    with Video(what) as video:
        path = folder / f"{parse_video(what).stem}_overlay.mp4"
        sink = OverlayVideo(path, video.info, UNTOUCHED)
        frames = [frame for frame in video.frames() if isinstance(frame, Frame)]
        for frame in frames:
            sink.write(background(frame))
        sink.close()
    return frames, path


def packets(path: Path, kind: str) -> int:
    with av.open(file_url(path), metadata_errors="replace") as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.best(kind)))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["12:30 talk.mp4", "http:x.mp4", "concat:a|b.mp4", "-lead.mp4", "100%d%03d.mov", "a*?[b].mkv", "lavfi:x.mp4",
     "pipe:0.mp4", "file:x.mp4", "\udce4\udcf6.mp4"],
)  # fmt: skip
def test_a_file_is_that_file_whatever_its_name_looks_like(name: str, here: Path) -> None:
    make_video(here / "plain.mkv", frames=FRAMES, audio="aac")
    container = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}[Path(name).suffix]
    made = make_video(here / f"made{Path(name).suffix}", frames=FRAMES, audio="aac", format=container)
    made.rename(name)
    frames, overlay = overlay_of(name, Path())
    assert [number_of(frame.rgb) for frame in frames] == list(range(FRAMES))
    assert packets(overlay, "video") == FRAMES
    assert packets(overlay, "audio") == packets(Path(name), "audio") > 0
    with open_source(name) as source:
        assert source.info.kind == "video"


def with_tags(path: Path, replaced: dict[bytes, bytes]) -> Path:
    content = path.read_bytes()
    for text, other in replaced.items():
        assert len(text) == len(other) and text in content
        content = content.replace(text, other)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["clip.mov", "clip.mp4", "clip.mkv", "clip.avi", "clip.flv"])
def test_tags_in_another_encoding_cost_neither_sound_nor_the_shape_of_pixels(name: str, tmp_path: Path) -> None:
    codecs = {"avi": {"codec": "mpeg4", "audio": "mp3"}}.get(name[-3:], {"audio": "aac"})
    made = make_video(tmp_path / f"made{name[-4:]}", frames=FRAMES, **codecs)
    path = tmp_path / name
    with av.open(str(made)) as source, av.open(str(path), "w") as target:
        target.metadata["title"] = "TTTT"
        if name[-3:] in ("mkv", "mp4"):
            target.set_chapters(
                [{"id": 1, "start": 0, "end": 1, "time_base": Fraction(1, 10), "metadata": {"title": "CCCC"}}]
            )
        streams = [target.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        for stream in streams:
            stream.metadata.update({"title": "SSSS", "handler_name": "HHHH"})
        video = next(stream for stream in streams if stream.type == "video")
        video.sample_aspect_ratio = Fraction(4, 3)
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    content = path.read_bytes()
    present = [text for text in (b"TTTT", b"CCCC", b"SSSS", b"HHHH") if text in content]
    assert present
    with_tags(path, dict.fromkeys(present, b"\xe4\xf6\xfc\xdf"))
    frames, overlay = overlay_of(path, tmp_path)
    assert len(frames) == FRAMES
    assert packets(overlay, "audio") == packets(path, "audio") > 0
    with av.open(str(overlay)) as written, open_file(path) as read:
        assert written.streams.video[0].sample_aspect_ratio == read.streams.video[0].sample_aspect_ratio


LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n",
    "hls over the network": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{file}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.ffconcat", "clip.sdp"])
def test_a_list_does_not_have_other_files_or_addresses_opened(kind: str, name: str, tmp_path: Path) -> None:
    other = make_video(tmp_path / "other.ts", frames=FRAMES)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        (tmp_path / name).write_text(LISTS[kind].format(file=other.name, port=port))
        with pytest.raises(InputError, match=rf"{name}: it is a list of other files"):
            Video(tmp_path / name)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_pattern_in_a_picture_s_name_is_no_pattern(here: Path) -> None:
    for number in range(3):
        make_video(here / f"secret{number}.png", codec="png", pix_fmt="rgb24", frames=1, format="image2pipe")
    (here / "secret0.png").rename("secret%d.png")
    with Video("secret%d.png") as video:
        assert len(list(video.frames())) == 1


NAMED = pytest.mark.skipif(os.name != "posix", reason="no pipes and devices that have a name")
PIPED = ("clip.mp4", "clip.mkv", "clip.ts")


@NAMED
@pytest.mark.parametrize("name", PIPED)
def test_a_fifo_gives_pictures_and_sound(name: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / name, frames=FRAMES, audio="aac")
    fifo = tmp_path / f"pipe{path.suffix}"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes()), daemon=True)
    writer.start()
    frames, overlay = overlay_of(fifo, tmp_path)
    writer.join()
    assert [frame.name for frame in frames] == [f"pipe/{n:06d}" for n in range(FRAMES)]
    assert packets(overlay, "audio") == packets(path, "audio")


@pytest.mark.parametrize("what", ["-", "/dev/stdin", "/dev/fd/0"])
@pytest.mark.parametrize("through", ["pipe", "file", "socket"])
def test_standard_input_gives_pictures_and_sound(what: str, through: str, tmp_path: Path) -> None:
    if what != "-" and (through == "socket" or os.name != "posix"):
        pytest.skip("the system does not open it by a name")
    path = make_video(tmp_path / "clip.mp4", frames=FRAMES, audio="aac")
    code = (
        "import sys; from pathlib import Path; from tests.test_opening import overlay_of, packets\n"
        f"frames, overlay = overlay_of({what!r}, Path({str(tmp_path)!r}))\n"
        "print(len(frames), frames[0].name, packets(overlay, 'audio'))"
    )
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[1]
    if through == "file":
        with path.open("rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True, cwd=root, text=True)
    elif through == "pipe":
        done = subprocess.run(command, input=path.read_bytes(), capture_output=True, cwd=root)
    else:
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root)
        theirs.close()
        ours.sendall(path.read_bytes())
        ours.close()
        done = subprocess.CompletedProcess(command, 0, *process.communicate())
    stem = "0" if what == "/dev/fd/0" else "stdin"
    stdout = done.stdout if isinstance(done.stdout, str) else done.stdout.decode()
    assert stdout.split() == [str(FRAMES), f"{stem}/000000", str(packets(path, "audio"))], done.stderr


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "STALL_SECONDS", 0.3)


@NAMED
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("writer", [False, True], ids=["nobody writes", "the writer sends nothing"])
def test_a_pipe_is_not_waited_for_without_an_end(writer: bool, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.mp4"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR) if writer else None
    with pytest.raises(InputError, match=r"pipe\.mp4: nothing came through it for 0\.3 s"):
        Video(fifo)
    if held is not None:
        os.close(held)


@NAMED
def test_an_empty_pipe_is_told_as_that(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.mp4"
    os.mkfifo(fifo)
    threading.Thread(target=lambda: fifo.write_bytes(b""), daemon=True).start()
    with pytest.raises(InputError, match=r"pipe\.mp4: the file is empty"):
        Video(fifo)


@NAMED
def test_a_device_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/dev/zero: .*a file or a pipe"):
        Video("/dev/zero")


def test_what_does_not_fit_into_the_temporary_folder_is_told(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool.tempfile, "tempdir", str(small_disk))
    monkeypatch.setattr(spool, "LEFT_FREE", 100_000)
    fifo = small_disk / "pipe.mp4"
    os.mkfifo(fifo)

    def write() -> None:
        with pytest.raises(BrokenPipeError):
            fifo.write_bytes(bytes(10_000_000))

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(InputError, match=r"pipe\.mp4: .*has no room for it; TMPDIR"):
        Video(fifo)
    writer.join()
    assert [path.name for path in small_disk.iterdir()] == ["pipe.mp4"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Sends files from their beginning alone, as the plainest servers do; asks for a password under /locked."""

    def do_GET(self) -> None:
        if self.path.startswith("/locked"):
            if self.headers.get("Authorization") != "Basic bWU6c2VjcmV0":
                return self.send_error(401)
            self.path = self.path.removeprefix("/locked")
        return super().do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["my clip.mp4", "clip.ts", "clip.mkv"])
def test_an_address_on_the_web_is_a_video_and_keeps_its_secrets(name: str, server: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / name, frames=FRAMES, audio="aac")
    url = f"http://me:secret@{server}/locked/{name.replace(' ', '%20')}?token=abc"
    with Video(url) as video:
        shown = f"http://{server}/locked/{name.replace(' ', '%20')}?token=***"
        assert video.info.name == shown and "secret" not in repr(video.info)
    frames, overlay = overlay_of(url, tmp_path / "out")
    assert [frame.name for frame in frames] == [f"{path.stem}/{n:06d}" for n in range(FRAMES)]
    assert packets(overlay, "audio") == packets(path, "audio")


def test_an_index_at_the_end_is_found_on_a_server_that_sends_files_from_their_beginning_alone(
    server: str, tmp_path: Path
) -> None:
    large = {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "size": (480, 640)}
    path = make_video(tmp_path / "late.mov", frames=40, audio="aac", **large)
    frames, overlay = overlay_of(f"http://{server}/late.mov", tmp_path / "out")
    assert [number_of(frame.rgb) for frame in frames] == list(range(40))
    assert packets(overlay, "audio") == packets(path, "audio") > 0


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://me:secret@{server}/none.mp4", r"none\.mp4: the server answers 404"),
        ("http://me:wrong@{server}/locked/x.mp4", r"x\.mp4: the server answers 401"),
        ("http://me:secret@127.0.0.1:9/x.mp4", r"x\.mp4: Connection refused"),
        ("http://me:secret@{server}/text.mp4", r"text\.mp4: its content is not a video"),
        ("rtsp://me:secret@{server}/live", r"rtsp://.*the command live"),
        ("http://me:secret:x@/x.mp4", r"no proper host"),
    ],
)
def test_an_address_that_is_no_video_is_told_without_its_secrets(
    url: str, told: str, server: str, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("this is no video" * 100)
    with pytest.raises(InputError, match=told) as error:
        Video(url.format(server=server))
    assert "secret" not in str(error.value) and "wrong" not in str(error.value)
