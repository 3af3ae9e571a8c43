"""The lines of README and of the pages beside the rooms, run: each `sh` and `python` block, with stand-ins for what a
test cannot have."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import tomllib
from codeop import compile_command
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from typer.main import get_command

from sapiens_stream.cli import app
from sapiens_stream.models.catalogue import PUBLISHED
from sapiens_stream.results.export import registry as formats
from sapiens_stream.results.mapping import shipped
from sapiens_stream.sinks import registry as outputs
from tests.hub_server import HubServer, publish
from tests.media import make_photo, make_video, picture
from tests.program import Program
from tests.sapiens import PublishedSapiens, torchscript

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/sapiens-stream/sapiens-stream/blob/main/"
README = ROOT / "README.md"
PAGES = [
    README,
    *sorted((ROOT / "sapiens_stream").rglob("README.md")),
    *(ROOT / each for each in ("benchmarks/README.md", "benchmarks/TRIED.md", "samples/README.md")),
    *sorted((ROOT / ".github").glob("*.md")),
]
CAMERA = "lavfi:testsrc2=size=160x96:rate=30"

# Lines of others' programs, which .ci/run runs or a test must not; what they install is looked at all the same.
OTHERS = (
    r"python3 -m venv \.venv",
    r"(?:\.venv/bin/)?pip install (?:-e )?(?P<what>'?[\w.-]*(?:\[\w+\])?'?)",
    r"pip install --no-deps '[\w.<>=,]+'",
    r"pip install torch torchvision --index-url https://download\.pytorch\.org/whl/cpu",
    r"\.venv/bin/python -m pytest",
    r"\.venv/bin/pre-commit install",
    r"bash (?P<script>\.ci/\w+)",
    r"(?:SHARDS=\d+ )?sbatch --array=\S+ samples/slurm\.sh videos\.txt results .*",
    r"ray .*",
)

# Words that stand for what a test cannot have: cameras, screens, a port of one's own, hours.
STAND_INS = {
    "0": CAMERA,
    "rtsp://10.0.0.7/stream": CAMERA,
    "--web": "--web=127.0.0.1:0",
    "0.0.0.0:8000": "0.0.0.0:0",
    "CHECKPOINT": "checkpoint.pt2",
    "FILE": "checkpoint.pt2",
}
LIVE = ("--no-window", "--max-frames", "5", "--reconnect", "no")
SETTINGS = {"rtsp://user:password@10.0.0.7/stream": f"{CAMERA}:duration=0.3"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(language: str, page: Path) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(*pages: Path) -> list[str]:
    """All of the pages, or of these, each once."""
    found = []
    for block in (block for page in pages or PAGES for block in blocks("sh", page)):
        for line in block.replace("\\\n", " ").splitlines():
            found += [command.strip() for command in re.sub(r"\s#.*", "", line).split("&&")]
    return list(dict.fromkeys(filter(None, found)))


def python_blocks() -> Iterator[object]:
    for page in PAGES:
        for number, block in enumerate(blocks("python", page), 1):
            if name_of(page) != "samples/README.md":  # which says how a sample was made
                yield pytest.param(block, id=f"{name_of(page)} {number}")


def is_others(command: str) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in OTHERS)


@pytest.fixture(scope="module")
def sapiens(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the hub here serves as sapiens-1b: its architecture at toy size."""
    return torchscript(tmp_path_factory.mktemp("sapiens") / "model.pt2", PublishedSapiens()).read_bytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: HubServer, sapiens: bytes, goliath: Path) -> Path:
    """The working directory, with the files that README's lines name, and a hub that has what they fetch."""
    folder = tmp_path / "work"
    (folder / "photos").mkdir(parents=True)
    for name in ("clip.mp4", "clip.mov", "other.mov"):
        make_video(folder / name, frames=4, audio="aac")
    for number in (1, 2):
        make_photo(folder / "photos" / f"{number}.jpg", picture(number, (96, 128)))
        make_photo(folder / f"shot.100{number}.png", picture(number, (96, 128)))
        light = np.full((96, 128, 3), number / 4, np.float16)
        OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, {"RGB": light}).write(f"{folder}/shot.100{number}.exr")
    (folder / "list.txt").write_text("photos/1.jpg\nphotos/2.jpg\n")
    (folder / "checkpoint.pt2").symlink_to(goliath)
    (folder / "samples").symlink_to(ROOT / "samples")
    publish(server, "sapiens-1b", sapiens)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fetched(program: Program, folder: Path) -> None:
    """As it is after README's `models pull`."""
    assert program("models", "pull", "sapiens-1b").code == 0


def stored_runs(program: Program, folder: Path) -> None:
    """The class maps that README's lines on written results name: of two runs, and a label video alone."""
    for output in ("output", "other"):
        options = ("--overlay", "none", "--save", "labels", "-o", output)
        assert program("video", "clip.mp4", *options).code == 0
    shutil.copy(folder / "output" / "clip_labels.mkv", folder)


def words_of(command: str) -> list[str]:
    """The command's words as a shell gives them, stand-ins in place."""
    words = shlex.split(command)[1:]
    live = words[0] == "live"
    words = [STAND_INS.get(word, word) if live or word.isupper() else word for word in words]
    if live:
        words += LIVE
        for place, word in enumerate(words[:-1]):
            if word == STAND_INS["--web"] and re.fullmatch(r"[\w.]+:\d+", words[place + 1]):
                words[place : place + 2] = [f"--web={words[place + 1]}"]
    return [path for word in words for path in (expanded(word) if "*" in word else [word])]


def expanded(pattern: str) -> list[str]:
    return sorted(path.name for path in Path.cwd().glob(pattern))


@pytest.mark.parametrize("command", [command for command in commands() if not is_others(command)])
@pytest.mark.usefixtures("fetched")
def test_a_line_for_the_shell(program: Program, folder: Path, command: str) -> None:
    """A line that is neither ours nor in `OTHERS` fails here: run it, or say what stands in for it."""
    assert re.match(r"(\.venv/bin/)?sapiens-stream ", command), f"a line that no test knows: {command}"
    if "small.pt2" in command and "export" not in command:
        [export] = [each for each in commands() if "export" in each and "small.pt2" in each]
        assert program(*words_of(export)).code == 0
    if re.match(r"sapiens-stream results (report|export) ", command):
        stored_runs(program, folder)
    before = {path for path in folder.rglob("*") if path.is_file()}
    outcome = program(*words_of(command))
    assert outcome.code == 0, outcome.stderr
    written = {path for path in folder.rglob("*") if path.is_file()} - before
    assert written or outcome.stdout
    for path in (
        word
        for flag, word in zip(shlex.split(command), shlex.split(command)[1:], strict=False)
        if flag in ("-o", "--record")
    ):
        assert (folder / path).exists(), path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if len(commands(page)) > 1], ids=name_of)
@pytest.mark.usefixtures("fetched")
def test_the_lines_of_a_page_go_one_after_the_other(program: Program, folder: Path, page: Path) -> None:
    """As somebody does who pastes them all: none finds the results of another in its way."""
    if page.parent.name == "results":
        stored_runs(program, folder)
    for command in commands(page):
        if not is_others(command):
            outcome = program(*words_of(command))
            assert outcome.code == 0, (command, outcome.stderr)


@pytest.mark.parametrize("command", [command for command in commands() if is_others(command)])
def test_a_line_that_others_run_names_what_there_is(command: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"\[(\w+)\]", command):
        assert extra in project["optional-dependencies"]
    for name in re.findall(r"install '([\w-]+)\[", command):
        assert name == project["name"]
    for script in re.findall(r"\.ci/\w+", command):
        assert (ROOT / script).is_file()


@pytest.mark.parametrize("block", list(python_blocks()))
def test_a_block_of_python(folder: Path, block: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, stand_in in SETTINGS.items():
        block = block.replace(name, stand_in)
    threads = torch.get_num_threads()
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    torch.set_num_threads(threads)
    assert capsys.readouterr().out


def test_the_front_pages_python_can_be_pasted_at_a_prompt() -> None:
    [block] = blocks("python", README)
    waiting: list[str] = []
    for line in [*block.splitlines(), ""]:
        waiting.append(line)
        if compile_command("\n".join(waiting), "README.md") is not None:  # raises SyntaxError as the prompt would
            waiting.clear()
    assert not waiting


def test_the_json_is_what_a_frame_has(program: Program, folder: Path) -> None:
    [shown] = [json.loads(block) for page in PAGES for block in blocks("json", page)]
    assert program("video", "samples/clip.mp4", "--overlay", "none", "--save", "json").code == 0
    written = [json.loads(path.read_text()) for path in sorted((folder / "output" / "clip").glob("*.json"))]
    [found, *_] = [each for each in written if each["labels"]]
    assert shown.keys() == found.keys()
    assert shown["schema"] == found["schema"]
    for key in ("labels", "regions"):
        assert shown[key][0].keys() == found[key][0].keys()


def every_option(command: object) -> Iterator[str]:
    for parameter in command.params:  # type: ignore[attr-defined]
        yield from (*parameter.opts, *parameter.secondary_opts)
    for below in getattr(command, "commands", {}).values():
        yield from every_option(below)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_that_the_text_names_exists(page: Path) -> None:
    of_others = {
        "--array",
        "--check",
        "--eager",
        "--frames",
        "--head",
        "--help",
        "--index-url",
        "--no-deps",
        "--only",
        "--port",
        "--simulate",
        "--small",
        "--workers",
    }
    known = {*every_option(get_command(app)), *of_others}
    prose = re.sub(r"^```(?!sh).*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", prose)) <= known


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_module_and_link_that_the_text_names_exists(page: Path) -> None:
    text = page.read_text()
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, heading = link.partition("#")
        if target.startswith(REPOSITORY):
            found = ROOT / target.removeprefix(REPOSITORY)
        elif re.match(r"https?:", target):
            continue
        else:
            found = (page.parent / target) if target else page
        assert found.exists(), link
        assert not heading or heading in headings(found), link


def headings(page: Path) -> list[str]:
    """The names that a page's headings have in links."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_front_page_is_short_and_reads_the_same_on_an_index() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


def test_every_page_is_reached_from_the_front() -> None:
    known = {README.resolve()}
    todo = [README]
    while todo:
        page = todo.pop()
        for link in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
            local = ROOT / link.removeprefix(REPOSITORY) if link.startswith(REPOSITORY) else page.parent / link
            if local.suffix == ".md" and local.is_file() and local.resolve() not in known:
                known.add(local.resolve())
                todo.append(local)
    assert {name_of(page) for page in PAGES if page.resolve() not in known} == set()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("sinks", {word for option in ("overlay", "save", "matte") for word in outputs.words(option)}),
        ("results", set(formats.words())),
        ("results/mappings", set(shipped())),
        ("models", set(PUBLISHED)),
    ],
)
def test_the_page_of_a_room_has_a_place_for_each_row_of_its_table(page: str, words: set[str]) -> None:
    text = (ROOT / "sapiens_stream" / page / "README.md").read_text()
    named = {word for each in re.findall(r"`([^`\n]+)`", text) for word in re.split(r"[\s,]+", each)}
    for first, rest in re.findall(r"`(\w+)-[\w.]+`((?:, `-[\w.]+`)+)", text):  # `sapiens-0.3b`, `-0.6b`
        named |= {f"{first}{each}" for each in re.findall(r"-[\w.]+", rest)}
    assert sorted(words - named) == []
