"""The table of outputs: what stands there is understood by every command, and so is a row that a test adds."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import OutputError, UsageError
from sapiens_stream.frame import Segmentation, SourceInfo
from sapiens_stream.pipeline.space import require_space
from sapiens_stream.sinks import Outputs, Sink, registry
from sapiens_stream.sinks.files import written_aside
from sapiens_stream.sinks.registry import OutputKind, Target
from tests.media import make_video
from tests.program import WAIT, Program, record_of

CAMERA = "lavfi:testsrc2=size=160x96:rate=30"
SMALL = ("--shape", 128, 128)
INFO = SourceInfo(name="clip.mp4", kind="video", frame_count=10, size=(96, 160))


class LineAFrame(Sink):
    """The index of each frame, in one file for all."""

    ordered = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.indices: list[int] = []

    def write(self, result: Segmentation) -> None:
        self.indices.append(result.frame.index)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return 1 << 60

    def measure(self, result: Segmentation) -> int:
        return 6

    def close(self) -> None:
        if self.indices:
            with written_aside(self.path) as file:
                file.write(" ".join(map(str, self.indices)).encode())

    @property
    def planned(self) -> list[Path]:
        return [self.path]

    @property
    def written(self) -> list[Path]:
        return self.planned if self.path.exists() else []


def line_a_frame(outputs: Outputs, target: Target) -> Sink:
    return LineAFrame(target.path)


NEW = OutputKind(
    option="save", word="indices", help="which frames there are", ending="_indices.ts", spans=True, open=line_a_frame
)


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch) -> OutputKind:
    """A row more."""
    monkeypatch.setattr(registry, "OUTPUTS", (*registry.OUTPUTS, NEW))
    return NEW


def chosen(kind: OutputKind) -> Outputs:
    """Outputs that hold this kind."""
    value = True if kind.word is None else frozenset({kind.word}) if kind.option == "save" else kind.word
    return Outputs(**{"overlay": "none", "save": frozenset({"json"}), kind.option: value})  # type: ignore[arg-type]


def names(kind: OutputKind) -> str:
    return f"{kind.option}-{kind.word}"


class TestEveryRow:
    @pytest.mark.parametrize("kind", registry.OUTPUTS, ids=names)
    def test_its_sink_writes_what_the_row_says(self, kind: OutputKind, tmp_path: Path) -> None:
        outputs = chosen(kind)
        assert kind in outputs.kinds
        place = outputs.kinds.index(kind)
        sink = outputs.sinks(tmp_path, "clip", INFO, SAPIENS, pytest.fail)[place]
        path = tmp_path / f"clip{kind.ending_for(outputs)}"
        if kind.spans:
            assert sink.planned == [path] and not sink.endings and path in outputs.paths(tmp_path, "clip")
        else:
            assert sink.endings == (kind.ending_for(outputs),) and not sink.planned
            assert path not in outputs.paths(tmp_path, "clip")
        sink.close()

    @pytest.mark.parametrize("kind", registry.OUTPUTS, ids=names)
    def test_it_stands_in_the_help_and_in_the_settings(self, kind: OutputKind, program: Program) -> None:
        page = " ".join(program("video", "--help").stdout.split())
        told = re.escape(kind.help)
        assert re.search(rf"\b{kind.word} \(([^()]*; )?{told}[;)]" if kind.word else told, page)
        assert kind.option in {field.name for field in fields(Outputs)}

    @pytest.mark.parametrize("kind", registry.OUTPUTS, ids=names)
    def test_what_it_takes_is_told_by_options_of_the_same_names(self, kind: OutputKind, program: Program) -> None:
        made = "".join(program(command, "--help").stdout for command in ("images", "video"))
        again = program("results", "render", "--help").stdout
        for name in kind.takes:
            assert name in {field.name for field in fields(Outputs)}
            for commands, shown in {"images nor video": made, "results render": again}.items():
                option = re.escape(f"--{name.replace('_', '-')}")
                assert re.search(rf"{option}(?![\w-])", shown), f"{name} is no option of {commands}"

    @pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9", "prores_ks", "ffv1"])
    def test_no_two_of_them_write_the_same_file(self, codec: str) -> None:
        endings = [kind.ending_for(Outputs(codec=codec)) for kind in registry.OUTPUTS]
        assert len(set(endings)) == len(endings)


class TestANewRow:
    @pytest.mark.parametrize(
        "text, expected",
        [("indices", {"indices"}), ("indices,json", {"indices", "json"}), ("none", set()), ("", set())],
    )
    def test_it_is_parsed(self, new: OutputKind, text: str, expected: set[str]) -> None:
        assert registry.parse_save(text) == expected

    @pytest.mark.parametrize("text", ["index", "json,Indices"])
    def test_it_is_offered_in_place_of_a_wrong_word(self, new: OutputKind, text: str) -> None:
        with pytest.raises(UsageError, match=r"can't save .*; there are classes, foreground, json, .*indices, or none"):
            registry.parse_save(text)

    @pytest.mark.parametrize("text", ["none,json", "json, none"])
    def test_nothing_and_something_contradict_each_other(self, text: str) -> None:
        with pytest.raises(UsageError, match="can't save none and json"):
            registry.parse_save(text)

    def test_nothing_knows_its_word_without_it(self) -> None:
        with pytest.raises(UsageError, match="can't save indices"):
            Outputs(save=frozenset({"indices"}))

    @pytest.mark.parametrize("command", ["video", "live"])
    def test_it_stands_in_the_help(self, command: str) -> None:
        script = (
            "from sapiens_stream.sinks import registry\n"
            "registry.OUTPUTS += (registry.OutputKind(option='save', word='indices', help='which frames there are',"
            " ending='_indices.ts', open=print),)\n"
            "from sapiens_stream.cli import main\n"
            "main()\n"
        )
        environment = {**os.environ, "COLUMNS": "80"}
        done = subprocess.run(
            [sys.executable, "-c", script, command, "--help"],
            capture_output=True,
            text=True,
            timeout=WAIT,
            env=environment,
        )
        assert "indices (which frames there are)" in " ".join(done.stdout.split()), done

    def test_it_is_estimated(self, new: OutputKind, tmp_path: Path) -> None:
        sinks = chosen(new).sinks(tmp_path, "clip", INFO, SAPIENS, pytest.fail)
        with pytest.raises(OutputError, match=r"10 frames need about 1\.15e\+07 TB"):
            require_space(sinks, INFO, tmp_path)

    @pytest.mark.skipif(not hasattr(os, "statvfs"), reason="a disk tells its free space in another way here")
    @pytest.mark.parametrize("told", ["nothing", "no bytes and no files at all", "no files that are free"])
    def test_a_disk_that_does_not_tell_what_is_free_is_taken(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str
    ) -> None:
        real = os.statvfs(tmp_path)

        def statvfs(_path: object) -> object:
            if told == "nothing":
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
            sizes = [0] * 5 if told.startswith("no bytes") else [real.f_frsize, 1 << 30, 1 << 30, 1 << 30, 1 << 30]
            return os.statvfs_result((real.f_bsize, *sizes, 0, 0, real.f_flag, real.f_namemax))

        monkeypatch.setattr(os, "statvfs", statvfs)
        sinks = Outputs(save="classes,json").sinks(tmp_path, "clip", INFO, SAPIENS, pytest.fail)
        line = require_space(sinks, INFO, tmp_path)
        assert "10 frames need about " in line
        assert ("an unknown space free in" in line) == (told != "no files that are free")

    def test_a_run_that_does_not_fit_leaves_no_folder(self, new: OutputKind, program: Program, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3)
        (tmp_path / "there").mkdir()
        for out in (tmp_path / "not" / "there", tmp_path / "there"):
            outcome = program("video", clip, "-o", out, "--overlay", "none", "--save", "indices")
            assert outcome.code and "TB, " in outcome.stderr, outcome
        assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "there"]

    def test_it_does_not_overwrite_an_input(self, new: OutputKind, program: Program, tmp_path: Path) -> None:
        clip, other = make_video(tmp_path / "clip.mp4", frames=3), make_video(tmp_path / "clip_indices.ts", frames=3)
        before = other.read_bytes()
        outcome = program("video", clip, other, "-o", tmp_path, "--overlay", "none", "--save", "indices")
        assert f"{other} is an input itself" in outcome.stderr
        assert other.read_bytes() == before

    def test_a_video_has_it_and_its_record_lists_it(
        self, new: OutputKind, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(LineAFrame, "bytes_per_frame", lambda self, size: 6)
        clip = make_video(tmp_path / "clip.mp4", frames=7)
        out = tmp_path / "out"
        outcome = program("video", clip, "-o", out, "--overlay", "none", "--save", "indices", *SMALL)
        assert outcome.code == 0, outcome
        assert "7 frames need about 42 bytes" in outcome.stderr
        assert (out / "clip_indices.ts").read_text() == "0 1 2 3 4 5 6"
        record = record_of(out)
        assert record["outputs"] == [str(out / "clip_indices.ts")]
        assert record["files"]["single"] == {"clip_indices.ts": 13} and record["settings"]["save"] == "indices"

    @pytest.mark.parametrize("cameras", [1, 2])
    def test_a_live_run_has_it_too(self, new: OutputKind, program: Program, tmp_path: Path, cameras: int) -> None:
        arguments = (*[CAMERA] * cameras, "--no-window", "--max-frames", 8, "--save", "indices,json", *SMALL)
        outcome = program("live", *arguments, "-o", tmp_path)
        assert outcome.code == 0, outcome
        stems = ["live"] if cameras == 1 else ["live_cam1", "live_cam2"]
        stems = [stem for stem in stems if (tmp_path / stem).exists()]  # one camera may be too slow to be shown at all
        assert stems
        record = record_of(tmp_path, "live")
        assert record["outputs"] == [str(tmp_path / f"{stem}_indices.ts") for stem in stems]
        assert set(record["files"]["single"]) == {f"{stem}_indices.ts" for stem in stems}
        for stem in stems:
            indices = [int(word) for word in (tmp_path / f"{stem}_indices.ts").read_text().split()]
            assert indices and indices == sorted(set(indices))
            assert len(indices) == len(list((tmp_path / stem).glob("*.json")))

    def test_a_single_picture_has_no_clip_to_span(self, new: OutputKind, tmp_path: Path) -> None:
        with Segmenter("builtin", device="cpu", shape=(128, 128)) as model:
            result = model(np.zeros((64, 48, 3), np.uint8))
        with pytest.raises(
            UsageError, match=r"can't save indices; there are classes, foreground, json, .*people, .*or none"
        ):
            result.save(tmp_path, "a", save="indices")
        assert not list(tmp_path.iterdir())
