"""What the program says before it does anything: its version, and one line for what a user got wrong."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from sapiens_stream.cli.console import one_line
from sapiens_stream.cli.web_address import is_web_address
from tests.media import make_photo, make_video, picture
from tests.program import Program


@pytest.mark.parametrize(
    "command",
    [(sys.executable, "-m", "sapiens_stream"), (str(Path(sys.executable).with_name("sapiens-stream")),)],
    ids=["module", "script"],
)
def test_the_version_with_the_name(command: tuple[str, ...]) -> None:
    if not Path(command[0]).exists():
        pytest.skip(f"the script {command[0]} is not installed")
    run = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"sapiens-stream {version('sapiens-stream')}\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--nonsense",), "--nonsense"),
        (("nonsense",), "nonsense"),
        (("video",), "INPUT"),
        (("video", "x.mp4", "--opacity"), "--opacity"),
        (("video", "x.mp4", "--classes", ""), "--classes is empty"),
        (("images", "--input", "x.jpg", "--classes", ""), "--classes is empty"),
        (("models", "nonsense"), "nonsense"),
        (("models", "info"), "NAME|PATH"),
        (("demo", "--nonsense"), "--nonsense"),
        (("doctor", "nonsense"), "nonsense"),
    ],
)
def test_wrong_usage_is_one_line(program: Program, arguments: tuple[str, ...], says: str) -> None:
    outcome = program(*arguments)
    assert outcome.code == 2 and outcome.stdout == ""
    assert len(outcome.stderr.splitlines()) == 1 and outcome.stderr.startswith("error: ") and says in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("video", "x.mp4", "-o", ""), "-o"),
        (("images", "--input", "x", "--output", ""), "--output"),
        (("images", "--input="), "--input"),
        (("live", "0", "--classes", ""), "--classes"),
        (("results", "status", ""), "a word of the command line"),
        (("results", "render", "", "-o", "x"), "a word of the command line"),
        (("demo", "-o", ""), "-o"),
    ],
)
def test_an_empty_word_is_no_path(
    program: Program, arguments: tuple[str, ...], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = program(*arguments)
    assert (outcome.code, outcome.stderr) == (2, f"error: {what} is empty; is a variable not set?\n")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with what a user may have lying about."""
    for name in ("videos", "both", "nothing"):
        (tmp_path / name).mkdir()
    make_video(tmp_path / "clip.mp4", frames=3)
    make_video(tmp_path / "videos" / "one.mov", frames=3)
    make_photo(tmp_path / "photos" / "a.jpg", picture(1, (64, 48)))
    make_photo(tmp_path / "photos" / "b.jpg", picture(2, (64, 48)))
    (tmp_path / "both" / "a.jpg").write_bytes((tmp_path / "photos" / "a.jpg").read_bytes())
    (tmp_path / "both" / "one.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes())
    (tmp_path / "list.txt").write_text("photos/a.jpg\n")
    (tmp_path / "clip.pcx").write_bytes(bytes(100))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="a name too long is as good as none there")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("video NAME.mp4", 1),
        ("images --input NAME.jpg", 1),
        ("images photos/a.jpg NAME.jpg -o out", 3),
        ("live NAME.mp4 --realtime --no-window", 2),
        ("video clip.mp4 -m NAME.pt2", 1),
        ("models info NAME.pt2", 1),
    ],
)
def test_what_keeps_a_file_from_being_seen_is_told(program: Program, folder: Path, command: str, code: int) -> None:
    outcome = program(*(word.replace("NAME", "n" * 300) for word in command.split()))
    assert outcome.code == code and len(outcome.complaints) == 1, outcome.stderr
    assert "File name too long" in outcome.complaints[0] and "no such file" not in outcome.complaints[0]


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("clip.mp4 --overlay none", 2, ["clip.mp4 is an input", "sapiens-stream video clip.mp4"]),
        ("'my clip.mp4'", 2, ["sapiens-stream video 'my clip.mp4'"]),
        ("shot.%04d.png", 2, ["sapiens-stream video shot.%04d.png"]),
        ("photos/a.jpg", 2, ["sapiens-stream images --input photos/a.jpg"]),
        ("both", 2, ["sapiens-stream video both/*.mp4 and sapiens-stream images --input both"]),
        ("0", 2, ["sapiens-stream live 0"]),
        ("rtsp://me:secret@x/y", 2, ["sapiens-stream live rtsp://x/y"]),
        ("nothing", 2, ["No such command 'nothing'"]),
        ("vidoe clip.mp4", 2, ["No such command 'vidoe'. Did you mean 'video'?"]),
        ("video videos", 1, ["videos is a folder", "sapiens-stream video videos/*.mov"]),
        ("video photos", 1, ["photos is a folder", "sapiens-stream images --input photos"]),
        ("video both", 1, ["sapiens-stream video both/*.mp4 and sapiens-stream images --input both"]),
        ("video nothing", 1, ["nothing is a folder", "no videos or photos"]),
        ("video photos/a.jpg", 1, ["is a photo", "sapiens-stream images --input photos/a.jpg"]),
        ("video list.txt", 1, ["list.txt", "sapiens-stream images --input list.txt"]),
        ("video shot.%04d.png", 1, ["shot.%04d.png: no picture is called like that, shot.0001.png for instance"]),
        ("video shot.####.exr", 1, ["shot.####.exr: no picture is called like that, shot.0001.exr for instance"]),
        ("video 0", 1, ["sapiens-stream live 0"]),
        ("video lavfi:testsrc2", 1, ["sapiens-stream live lavfi:testsrc2"]),
        ("video builtin", 1, ["builtin is a model", "-m builtin"]),
        ("video gone.mp4", 1, ["gone.mp4: no such file"]),
        ("video clip.mp4 -m sapiens1b", 2, ["sapiens1b", "did you mean sapiens-1b?"]),
        ("video clip.mp4 -m Builtin", 2, ["Builtin", "did you mean builtin?"]),
        ("video builtin -m clip.mp4", 2, ["clip.mp4 is no model"]),
        ("video clip.mp4 -m gone.pt2", 1, ["gone.pt2: no such file"]),
        ("video clip.mp4 -m ~nobody-here/gone.pt2", 1, ["~nobody-here/gone.pt2: no such file"]),
        ("video clip.mp4 --classes-from ~nobody-here/names.txt", 2, ["no such file"]),
        ("video clip.mp4 -m facebook/sapiens-seg-1b", 1, ["no such file", "sapiens-1b:pth"]),
        ("video clip.mp4 videos/one.mov -o out.mp4", 2, ["out.mp4", "2 are given", "folder"]),
        ("video clip.mp4 -o out.webm", 2, ["out.webm", "libx264", ".mp4"]),
        ("video clip.mp4 -o out.avi", 2, ["out.avi", "libx264", ".mp4"]),
        ("video clip.mp4 -o out.mp4 --overlay frames", 2, ["out.mp4", "--overlay frames"]),
        ("video clip.mp4 -o clip.mp4", 1, ["clip.mp4 is an input itself"]),
        ("images", 2, ["--input"]),
        ("images builtin", 2, ["--input", "sapiens-stream images builtin --input PHOTOS"]),
        ("images gone", 2, ["gone: no such file or folder", "models list"]),
        ("images clip.pcx", 2, ["clip.pcx", "neither a photo", "models list"]),
        ("images gone.pt2 --input photos", 1, ["gone.pt2: no such file"]),
        ('images "" --input photos', 2, ["a word of the command line is empty"]),
        ("images --input clip.mp4", 2, ["clip.mp4 is a video", "sapiens-stream video clip.mp4"]),
        ("images clip.mp4", 2, ["clip.mp4 is a video", "sapiens-stream video clip.mp4"]),
        ("images builtin --input videos", 1, ["no photos", "sapiens-stream video videos/*.mov"]),
        ("images photos --input builtin", 2, ["sapiens-stream images builtin --input photos"]),
        ("images photos builtin", 2, ["sapiens-stream images builtin --input photos"]),
        ("images photos both", 2, ["2 inputs", "'*.jpg'"]),
        ("images photos/a.jpg list.txt", 2, ["2 inputs"]),
        ("images gone/a.jpg gone/b.jpg", 1, ["gone/*.jpg", "none of the 2 photos"]),
        ("images builtin photos more", 2, ["more"]),
        ("images builtin photos -o out.png", 2, ["out.png", "folder"]),
        ("images sapiens_1b photos", 2, ["sapiens_1b", "did you mean sapiens-1b?"]),
        ("images builtin --input gone", 1, ["gone: no such file or folder"]),
        ("live clip.mp4 --no-window", 2, ["--realtime", "sapiens-stream video clip.mp4"]),
        ("live photos --no-window", 2, ["photos is a folder", "sapiens-stream images --input photos"]),
        ("live photos/a.jpg --no-window", 2, ["is a photo", "sapiens-stream images --input photos/a.jpg"]),
        ("live gone.mp4 --realtime --no-window", 2, ["gone.mp4", "no such file"]),
        ("live builtin 0 --no-window", 2, ["-m builtin"]),
        ("live 0 -m sapiens-9b --no-window", 2, ["sapiens-9b"]),
        ("live 0 -o talk.mp4 --no-window", 2, ["--record talk.mp4"]),
        ("live --web 8001", 2, ["no SOURCE"]),
        ("models info sapiens1b", 2, ["sapiens1b", "did you mean sapiens-1b?"]),
        ("models info clip.mp4", 2, ["clip.mp4 is no model"]),
        ("models export gone.pt2 --to onnx -o out.onnx", 1, ["gone.pt2: no such file"]),
    ],
)
def test_a_natural_guess_is_told_what_is_right(
    program: Program, folder: Path, command: str, code: int, says: list[str]
) -> None:
    outcome = program(*shlex.split(command))
    assert outcome.code == code, outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1, outcome.stderr
    assert all(words in outcome.stderr for words in says), outcome.stderr


@pytest.mark.parametrize(
    "command",
    [
        "images photos",
        "images --input photos",
        "images builtin photos",
        "images photos -m builtin",
        "images builtin --input photos",
        "images photos/a.jpg",
        "images list.txt",
        "images photos/*.jpg -m builtin",
        "images photos/a.jpg photos/b.jpg",
        "images builtin photos/b.jpg photos/a.jpg",
        "images --input photos/a.jpg photos/b.jpg",
        "images builtin --input photos/a.jpg photos/b.jpg",
    ],
)
def test_ways_to_name_photos(program: Program, folder: Path, command: str) -> None:
    outcome = program(*command.split(), "-o", "out", "--shape", "64", "64")
    assert outcome.code == 0, outcome.stderr
    assert (folder / "out" / "a_seg.npy").exists()


def test_the_overlay_of_a_single_video_goes_where_output_says(program: Program, folder: Path) -> None:
    outcome = program("video", "clip.mp4", "-o", "new/out.mkv", "--shape", "64", "64")
    assert outcome.code == 0, outcome.stderr
    assert "new/out.mkv" in outcome.stdout
    assert {path.name for path in (folder / "new").iterdir()} == {"out.mkv", "clip", "clip_run.json"}
    assert json.loads((folder / "new" / "clip_run.json").read_text())["outputs"] == ["new/out.mkv"]


@pytest.mark.parametrize(
    "command",
    [
        "video gone.mp4",
        "video gone.mp4 also_gone.mp4 --json",
        "video videos",
        "video photos/a.jpg",
        "video list.txt",
        "video clip.mp4 -m sapiens-9b",
        "video clip.mp4 -m gone.pt2",
        "images builtin --input gone",
        "images gone.pt2 --input photos",
        "images builtin --input nothing",
        "live gone.mp4 --realtime",
        "live 0 -m gone.pt2",
        "models info gone.pt2",
        "models export gone.pt2 --to onnx -o out.onnx",
    ],
)
def test_what_is_missing_is_told_before_torch_is_loaded(folder: Path, command: str) -> None:
    script = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); import sapiens_stream.cli as c"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"{script}; sys.argv = ['', *{command.split()!r}]; c.main()"],
        capture_output=True,
        text=True,
    )
    assert run.returncode in (1, 2) and run.stderr.startswith("error: "), run.stderr
    assert run.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("word", "is_address"),
    [
        *[(word, True) for word in ("8001", "65535", "99999", "localhost", "localhost:8001", "cam.local:0", ":8001")],
        *[(word, True) for word in ("127.0.0.1", "0.0.0.0", "0.0.0.0:9000", "[::1]", "[::1]:8001", "::1", "::")],
        *[(word, False) for word in ("", "0", "7", "80", "/dev/video0", "video=Camera", "screen", "rtsp://10.0.0.7/")],
        *[(word, False) for word in ("udp://0.0.0.0:5000", "lavfi:testsrc2=rate=30", "clip.mp4", "gone.mkv", "photos")],
        *[(word, False) for word in ("--record", "-o", "http://10.0.0.7:8080/video")],
    ],
)
def test_what_follows_web_is_its_address_or_the_next_source(folder: Path, word: str, is_address: bool) -> None:
    assert is_web_address(word) is is_address


FORGED = "a\x1b[31m\nerror: forged\r\u202e\x9b2J"
SHOWN = r"a\x1b[31m\nerror: forged\r\u202e\x9b2J"


@pytest.mark.parametrize(
    "command",
    [
        ["video", f"{FORGED}.mp4"],
        ["video", f"{FORGED}/clip.mp4"],
        ["video", FORGED],
        ["video", "clip.mp4", "-m", FORGED],
        ["video", "clip.mp4", "-m", f"{FORGED}.pt2"],
        ["video", "clip.mp4", "--save", FORGED],
        ["video", "clip.mp4", "--codec", FORGED],
        ["video", "clip.mp4", f"--{FORGED}"],
        ["images", "builtin", "--input", FORGED],
        ["images", f"{FORGED}.jpg", "-m", "builtin"],
        ["live", FORGED, "--no-window"],
        ["models", "info", FORGED],
        ["models", "pull", FORGED],
    ],
    ids=lambda words: " ".join(words[:-1]),
)
def test_control_characters_of_a_name_are_shown_escaped(program: Program, folder: Path, command: list[str]) -> None:
    outcome = program(*command)
    said = outcome.stdout + outcome.stderr
    assert outcome.code in (1, 2) and len(said.splitlines()) == 1
    assert not set(said) & set("\x1b\r\u202e\x9b")


def test_a_clip_of_such_a_name_is_done_and_named_escaped(program: Program, folder: Path) -> None:
    clip = (folder / "clip.mp4").rename(folder / f"{FORGED}.mp4")
    outcome = program("video", clip, "-o", "out", "--overlay", "none", "--save", "json", "--shape", "256", "256")
    assert outcome.code == 0, outcome.stderr
    for said in (outcome.stdout, outcome.stderr):
        assert SHOWN in said and not [line for line in said.splitlines() if line.startswith("error:")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that a process works in")
def test_started_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    starting = "from sapiens_stream.cli import main; sys.argv[1:] = ['video', 'a.mp4']; main()"
    code = f"import os; os.rmdir({str(folder)!r}); {starting}"
    repository = str(Path(__file__).parents[1])
    run = subprocess.run(
        # -P: as in the installed program, the folder is no place to import from; NumPy on Python 3.13 fails there.
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {repository!r}); {code}"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr == "error: the folder that the program was started in is gone; start it in another\n"


@pytest.mark.skipif(sys.platform == "win32", reason="names have other limits there")
@pytest.mark.parametrize(
    "command",
    [
        ["video", "{}"],
        ["video", "clip.mp4", "-m", "{}"],
        ["video", "clip.mp4", "-o", "{}"],
        ["images", "--input", "{}"],
        ["images", "--input", "{}*.png"],
        ["live", "{}"],
        ["models", "info", "{}"],
        ["models", "export", "{}", "--to", "onnx", "-o", "a"],
        ["results", "status", "{}"],
        ["results", "render", "{}"],
        ["results", "report", "{}"],
        ["results", "export", "{}", "--to", "coco"],
        ["results", "join", "{}"],
        ["demo", "-o", "{}"],
    ],
    ids=" ".join,
)
def test_a_name_that_no_file_system_takes_is_told_in_a_line(program: Program, folder: Path, command: list[str]) -> None:
    outcome = program(*[word.format("a" * 300) for word in command])
    assert outcome.code in (1, 2)
    assert len(outcome.complaints) == 1 and "aaa" in outcome.stderr


def test_a_line_without_an_end_is_shown_without_its_middle() -> None:
    shown = one_line("error: " + "x" * 10**6 + " \x1b[2J is no box")
    assert shown.startswith("error: xxx") and " [...] " in shown and shown.endswith(r"xxx \x1b[2J is no box")
    assert len(shown) < 25_000
