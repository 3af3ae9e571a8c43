"""The models that go by a name: fetched from a hub on this machine, found, described, run, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from threading import Event, Timer

import huggingface_hub.constants as hub_constants
import pytest
import torch
from safetensors.torch import save_file

from sapiens_stream import Segmenter
from sapiens_stream.errors import UsageError
from sapiens_stream.models.catalogue import KNOWN, PUBLISHED
from sapiens_stream.models.published import on_disk
from tests.checkpoints import tiny_torchscript
from tests.hub_server import HubServer, Request, file_of, publish, running_hub
from tests.media import make_photo, make_video, picture
from tests.program import WAIT, Outcome, Program, finish, start, wait_for
from tests.sapiens import PublishedSapiens, torchscript

SMALL, SAPIENS2 = "sapiens-0.3b", "sapiens2-0.4b"
BIG = bytes(range(256)) * 1024  # 16 chunks
HALF = len(BIG) // 2


def cached(home: Path, name: str) -> Path | None:
    """The file as huggingface_hub's users find it."""
    file = file_of(name)
    folder = home / "hub" / f"models--{file.repository.replace('/', '--')}"
    return next(iter(folder.glob(f"snapshots/*/{file.file}")), None)


def complaint(outcome: Outcome) -> str:
    [line] = outcome.complaints
    return line


def elsewhere(home: Path, endpoint: str, **more: str) -> dict[str, str]:
    """The environment of a program that is to use this hub and cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))}
    return kept | {"HF_HOME": str(home), "HF_ENDPOINT": endpoint} | more


class TestFetching:
    @pytest.mark.parametrize("name", [*PUBLISHED, "sapiens-1b:pth", "sapiens-1b:bfloat16"])
    def test_one_file_into_the_hubs_cache(
        self, program: Program, server: HubServer, home: Path, goliath: Path, name: str
    ) -> None:
        publish(server, name, goliath.read_bytes())
        outcome = program("models", "pull", name, "--accept-licence", "--json")
        assert outcome.code == 0, outcome.stderr
        path = cached(home, name)
        assert path is not None and path.read_bytes() == goliath.read_bytes()
        said = json.loads(outcome.stdout)
        assert (said["name"], said["path"], said["size"]) == (name, str(path), goliath.stat().st_size)
        assert len(server.requests) == 1

    def test_what_is_on_disk_is_not_fetched_again_unless_forced(
        self, program: Program, server: HubServer, goliath: Path
    ) -> None:
        publish(server, SMALL, goliath.read_bytes())
        for arguments, requests in (([], 1), ([], 1), (["--force"], 2), ([], 2)):
            assert program("models", "pull", SMALL, *arguments).code == 0
            assert len(server.requests) == requests

    def test_the_variant_by_option(self, program: Program, server: HubServer, home: Path, goliath: Path) -> None:
        publish(server, "sapiens-1b:bfloat16", goliath.read_bytes())
        outcome = program("models", "pull", "sapiens-1b", "--variant", "bfloat16")
        assert outcome.code == 0 and "sapiens-1b:bfloat16 is on disk" in outcome.stdout
        assert "CC-BY-NC 4.0. Not for commercial use" in outcome.stderr

    def test_a_token_goes_to_the_hub_and_not_to_its_storage(
        self, program: Program, server: HubServer, goliath: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(server, SMALL, goliath.read_bytes(), token="hf_right")
        refused = program("models", "pull", SMALL)
        assert refused.code == 1
        assert "refuses a request without a token (401)" in complaint(refused) and "set HF_TOKEN" in complaint(refused)
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        assert "refuses your token (403)" in complaint(program("models", "pull", SMALL))
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        assert program("models", "pull", SMALL).code == 0
        assert server.requests == [Request(0, goliath.stat().st_size, None)]

    def test_the_environment_is_obeyed(self, server: HubServer, home: Path, goliath: Path) -> None:
        publish(server, SMALL, goliath.read_bytes(), token="hf_right")
        with start(
            "models", "pull", SMALL, env=elsewhere(home, server.endpoint, HF_TOKEN="hf_right"), cwd=home.parent
        ) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        path = cached(home, SMALL)
        assert path is not None and f"{SMALL} is on disk (0.2 MB): {path}" in out

    def test_two_programs_at_once_fetch_it_once(self, server: HubServer, home: Path, goliath: Path) -> None:
        second_waits = Event()
        publish(server, SMALL, goliath.read_bytes(), awaits=second_waits)
        env = elsewhere(home, server.endpoint, HF_HUB_DOWNLOAD_TIMEOUT=str(int(WAIT)))
        with start("models", "pull", SMALL, env=env, cwd=home.parent) as first:
            wait_for(lambda: bool(server.requests), first)
            with start("models", "pull", SMALL, env=env, cwd=home.parent) as second:
                assert second.stderr is not None
                late = Timer(WAIT, second_waits.set)
                late.start()
                waiting = f"{SMALL}: another program is fetching it; waiting until that has ended\n"
                assert waiting in iter(second.stderr.readline, "")
                late.cancel()
                second_waits.set()
                assert [finish(process).code for process in (first, second)] == [0, 0]
        assert len(server.requests) == 1

    def test_builtin_needs_none(self, program: Program, home: Path) -> None:
        outcome = program("models", "pull", "builtin")
        assert outcome.code == 2 and "comes with the package" in complaint(outcome)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("sapiens-9b",), "no model 'sapiens-9b' to fetch; there is sapiens-0.3b"),
            (("SAPIENS-0.3B",), "did you mean sapiens-0.3b?"),
            (("ssdlite",), "did you mean ssdlite320?"),
            (("sapiens-1b:int8",), "no variant 'int8'; there is torchscript, pth, bfloat16"),
            (("sapiens-1b:pth", "--variant", "bfloat16"), "give one of them"),
        ],
    )
    def test_names_that_are_none(self, program: Program, home: Path, arguments: tuple[str, ...], said: str) -> None:
        outcome = program("models", "pull", *arguments)
        assert outcome.code == 2 and said in complaint(outcome)


class TestInterruption:
    def test_a_break_is_mended_within_the_same_download(self, program: Program, server: HubServer, home: Path) -> None:
        publish(server, SMALL, BIG, breaks=[HALF])
        outcome = program("models", "pull", SMALL)
        assert (outcome.code, outcome.complaints) == (0, [])
        path = cached(home, SMALL)
        assert path is not None and path.read_bytes() == BIG
        assert [(request.start, request.sent) for request in server.requests] == [(0, HALF), (HALF, HALF)]

    @pytest.mark.parametrize("force", [(), ("--force",)])
    def test_the_next_pull_goes_on_where_one_ended(
        self, program: Program, server: HubServer, home: Path, force: tuple[str, ...]
    ) -> None:
        stored = publish(server, SMALL, BIG, breaks=[HALF], then=503)
        outcome = program("models", "pull", SMALL)
        assert outcome.code == 1
        assert "answers 503" in complaint(outcome)
        assert "0.1 MB of it are here: fetch it again, and it goes on from there" in complaint(outcome)
        assert cached(home, SMALL) is None
        assert "torchscript (first 0.1 MB)" in program("models", "list").stdout
        stored.then = None
        assert program("models", "pull", SMALL, *force).code == 0
        path = cached(home, SMALL)
        assert path is not None and path.read_bytes() == BIG
        assert [request.start for request in server.requests] == [0, HALF]
        assert not list((home / "hub").rglob("*.incomplete"))

    def test_a_server_that_is_gone_midway(self, home: Path) -> None:
        """In a process of its own, with a file of more than huggingface_hub writes down at a time."""
        content = bytes(24 << 20)
        with running_hub() as server:
            publish(server, SMALL, content, breaks=[len(content) - 1], then=503)
            with start("models", "pull", SMALL, env=elsewhere(home, server.endpoint), cwd=home.parent) as process:
                _, err = process.communicate(timeout=60)
            endpoint = server.endpoint
        assert process.returncode == 1 and "21.0 MB of it are here" in err and "Traceback" not in err
        with start("models", "pull", SMALL, env=elsewhere(home, endpoint), cwd=home.parent) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 1 and "Connection refused" in err and "it goes on from there" in err

    def test_damage_on_the_way_is_found_and_not_kept(self, program: Program, server: HubServer, home: Path) -> None:
        stored = publish(server, SMALL, BIG, sha256=hashlib.sha256(b"something else").hexdigest())
        outcome = program("models", "pull", SMALL)
        assert outcome.code == 1 and "came damaged: its sha256 is not the hub's" in complaint(outcome)
        assert cached(home, SMALL) is None
        stored.sha256 = None
        assert program("models", "pull", SMALL).code == 0

    def test_a_file_that_is_shorter_than_the_hub_says(self, program: Program, server: HubServer, home: Path) -> None:
        stored = publish(server, SMALL, BIG[:-1], size=len(BIG))
        outcome = program("models", "pull", SMALL)
        assert outcome.code == 1 and f"should be of size {len(BIG)}" in complaint(outcome)
        outcome = program("models", "pull", SMALL)
        assert outcome.code == 1 and "did not fit the hub's, and was removed" in complaint(outcome)
        stored.content = BIG
        assert program("models", "pull", SMALL).code == 0


class TestTrouble:
    @pytest.mark.parametrize(
        ("status", "said"),
        [(404, r"has no sapiens_0.3b_.*\(404\)"), (429, "too many requests"), (500, "answers 500.*try again later")],
    )
    def test_refusals(self, program: Program, server: HubServer, status: int, said: str) -> None:
        publish(server, SMALL, BIG, status=status)
        outcome = program("models", "pull", SMALL)
        assert outcome.code == 1
        assert re.search(said, complaint(outcome))

    def test_offline(self, program: Program, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
        outcome = program("models", "pull", SMALL)
        assert outcome.code == 1 and "offline mode; unset HF_HUB_OFFLINE" in complaint(outcome)

    @pytest.mark.parametrize(
        ("setting", "code", "said"),
        [
            ({"HF_ENDPOINT": "http://[::1"}, 2, "HF_ENDPOINT"),
            ({"HF_HUB_DOWNLOAD_TIMEOUT": "soon"}, 2, "HF_ variables"),
            ({"SSL_CERT_FILE": "/nowhere/certificates.pem"}, 1, "certificates"),
            ({"http_proxy": "http://[::1", "no_proxy": ""}, 1, "the proxy"),
            ({"all_proxy": "gopher://localhost:70", "no_proxy": ""}, 1, "the proxy"),
            ({"HF_TOKEN": "schlüssel"}, 1, "HF_TOKEN"),
        ],
        ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
    )
    def test_an_environment_that_cannot_be_is_named(
        self, server: HubServer, home: Path, setting: dict[str, str], code: int, said: str
    ) -> None:
        publish(server, SMALL, BIG)
        outcome = finish(start("models", "pull", SMALL, "-q", env=elsewhere(home, server.endpoint) | setting))
        assert outcome.code == code and said in complaint(outcome)
        assert outcome.stderr.count("\n") == 1 and "cannot be written" not in outcome.stderr

    @pytest.mark.parametrize(
        ("status", "broken", "setting"),
        [
            *((status, None, {}) for status in (None, 401, 404, 429, 500)),
            (None, 1, {}),
            (None, None, {"HF_ENDPOINT": "http://user:verysecret@127.0.0.1:9"}),
            (None, None, {"HF_ENDPOINT": "http://user:verysecret@nowhere.invalid"}),
            (None, None, {"HF_ENDPOINT": "http://user:verysecret@127.0.0.1:x"}),
            (None, None, {"HF_ENDPOINT": "http://user:very secret@127.0.0.1"}),
            (None, None, {"HF_ENDPOINT": "http://user:verysecret@[::1"}),
            (None, None, {"HF_ENDPOINT": "http://127.0.0.1:9/?token=verysecret"}),
            (None, None, {"http_proxy": "gopher://user:verysecret@localhost:70", "no_proxy": ""}),
            (None, None, {"http_proxy": "http://user:verysecret@[::1", "no_proxy": ""}),
        ],
        ids=str,
    )
    def test_a_password_in_an_address_is_not_said(
        self, server: HubServer, home: Path, status: int | None, broken: int | None, setting: dict[str, str]
    ) -> None:
        stored = publish(server, SMALL, BIG, status=status)
        if broken is not None:
            stored.breaks, stored.then = [HALF], 500
        address = server.endpoint.replace("//", "//user:verysecret@")
        outcome = finish(start("models", "pull", SMALL, env=elsewhere(home, address) | setting))
        assert outcome.code == (1 if status or broken or setting else 0) or (setting and outcome.code == 2)
        assert "secret" not in outcome.stdout + outcome.stderr

    def test_a_cache_that_cannot_be_written(self, server: HubServer, home: Path) -> None:
        publish(server, SMALL, BIG)
        home.write_text("a file, not a folder")
        outcome = finish(start("models", "pull", SMALL, "-q", env=elsewhere(home, server.endpoint)))
        assert outcome.code == 1 and "Not a directory; choose another place with HF_HOME" in complaint(outcome)

    def test_a_full_disk(
        self, program: Program, server: HubServer, small_disk: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(small_disk))
        stored = publish(server, SMALL, BIG * 8)
        outcome = program("models", "pull", SMALL)
        assert outcome.code == 1 and "2.1 MB are still to come, and 1.0 MB are free" in complaint(outcome)
        stored.size = -1  # so that it shows only as it is written
        outcome = program("models", "pull", SMALL)
        assert outcome.code == 1 and "No space left on device; free some" in complaint(outcome)
        assert "HF_HOME" in complaint(outcome)


class TestLicence:
    def test_use_restrictions_are_accepted_once(self, program: Program, server: HubServer, goliath: Path) -> None:
        publish(server, SAPIENS2, goliath.read_bytes())
        publish(server, "sapiens2-1b", goliath.read_bytes())
        outcome = program("models", "pull", SAPIENS2)
        assert outcome.code == 2 and f"sapiens-stream models pull {SAPIENS2} --accept-licence" in complaint(outcome)
        assert "surveillance and biometric processing are not" in outcome.stderr and not server.requests
        with pytest.raises(UsageError, match=f"models pull {SAPIENS2} --accept-licence"):
            Segmenter(SAPIENS2, pull=True)
        assert program("models", "pull", SAPIENS2, "--accept-licence").code == 0
        assert program("models", "pull", "sapiens2-1b").code == 0

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
    @pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
    def test_a_terminal_is_asked(self, server: HubServer, home: Path, goliath: Path, answer: str, code: int) -> None:
        publish(server, SAPIENS2, goliath.read_bytes())
        terminal, stdin = os.openpty()
        os.write(terminal, f"{answer}\n".encode())
        try:
            with start(
                "models", "pull", SAPIENS2, env=elsewhere(home, server.endpoint), cwd=home.parent, stdin=stdin
            ) as process:
                _, err = process.communicate(timeout=60)
        finally:
            os.close(terminal)
            os.close(stdin)
        assert (process.returncode, "Do you accept it?" in err) == (code, True), err
        assert (cached(home, SAPIENS2) is not None) == (code == 0)


class TestRunning:
    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        return make_photo(tmp_path / "photos" / "a.png", picture(1, (60, 40))).parent

    @pytest.mark.parametrize("name", [name for name in KNOWN if name != "builtin"] + ["sapiens-1b:bfloat16"])
    def test_a_model_that_is_not_on_disk_says_how_to_get_it(
        self, program: Program, home: Path, photos: Path, name: str
    ) -> None:
        outcome = program("images", name, "--input", photos)
        assert outcome.code == 2 and f"sapiens-stream models pull {name} (or give --pull)" in complaint(outcome)

    def test_pull_fetches_and_runs_it(
        self, program: Program, server: HubServer, photos: Path, colour_torchscript: Path
    ) -> None:
        publish(server, SMALL, colour_torchscript.read_bytes())
        outcome = program("images", SMALL, "--input", photos, "--pull")
        assert outcome.code == 0, outcome.stderr
        assert json.loads((photos / "output" / "a.json").read_text())["model"] == SMALL
        assert "CC-BY-NC" in outcome.stderr
        assert program("images", SMALL, "--input", photos).code == 0
        assert Segmenter(SMALL).model.name == SMALL and len(server.requests) == 1

    def test_video_pulls_too(self, program: Program, server: HubServer, tmp_path: Path) -> None:
        publish(server, SMALL, BIG, status=404)
        clip = make_video(tmp_path / "clip.mp4")
        outcome = program("video", clip, "-m", SMALL, "--pull", "-o", tmp_path / "out")
        assert outcome.code == 1 and "(404)" in complaint(outcome)

    def test_the_api_pulls_only_when_told(self, server: HubServer, colour_torchscript: Path) -> None:
        publish(server, SMALL, colour_torchscript.read_bytes())
        with pytest.raises(UsageError, match="is not on disk"):
            Segmenter(SMALL)
        assert Segmenter(SMALL, pull=True).model.name == SMALL

    @pytest.mark.parametrize(
        ("name", "classes", "title"),
        [("sapiens-0.6b:pth", 28, "Sapiens"), ("sapiens-foreground-1b", 1, "foreground")],
    )
    def test_published_weights_run_by_our_own_module(
        self, program: Program, server: HubServer, tmp_path: Path, name: str, classes: int, title: str
    ) -> None:
        network = PublishedSapiens(classes).eval()
        path = tmp_path / "weights"
        if name.endswith("pth"):
            torch.save({"state_dict": network.state_dict()}, path)
        else:
            torchscript(path, network)
        publish(server, name, path.read_bytes())
        model = Segmenter(name, pull=True).model
        assert (model.name, model.kind, model.classes.title) == (name.partition(":")[0], "sapiens", title)
        facts = json.loads(program("models", "info", name, "--json").stdout)
        assert facts["parameters"] == sum(each.numel() for each in network.parameters())
        assert facts["run_by"] == "sapiens"

    def test_a_name_takes_the_preferred_of_what_is_on_disk(
        self, program: Program, server: HubServer, colour_torchscript: Path, colour_export: Path
    ) -> None:
        publish(server, "sapiens-1b:bfloat16", colour_export.read_bytes())
        publish(server, "sapiens-1b:torchscript", colour_torchscript.read_bytes())
        assert program("models", "pull", "sapiens-1b:bfloat16").code == 0
        assert Segmenter("sapiens-1b").model.kind == "torch-export"
        assert program("models", "pull", "sapiens-1b:torchscript").code == 0
        kinds = [Segmenter(name).model.kind for name in ("sapiens-1b", "sapiens-1b:bfloat16")]
        assert kinds == ["torchscript", "torch-export"]

    @pytest.mark.parametrize("name", [SMALL, SAPIENS2])
    def test_a_damaged_file_in_the_cache_is_named_and_mended(
        self, program: Program, server: HubServer, home: Path, photos: Path, tmp_path: Path, goliath: Path, name: str
    ) -> None:
        if name == SAPIENS2:
            save_file({"weight": torch.zeros(1000)}, tmp_path / "weights")
        whole = (goliath if name == SMALL else tmp_path / "weights").read_bytes()
        publish(server, name, whole)
        assert program("models", "pull", name, "--accept-licence").code == 0
        path = cached(home, name)
        assert path is not None
        for mending in (("--force",), ()):
            os.truncate(path, len(whole) - 100)
            outcome = program("images", name, "--input", photos)
            assert outcome.code == 1
            assert f"cut short or damaged ({path})" in complaint(outcome)
            assert f"fetch it again: sapiens-stream models pull {name} --force" in complaint(outcome)
            assert "(damaged)" in program("models", "list").stdout
            assert [each.name for each in on_disk(PUBLISHED[name]) if each.damaged] == [name]
            assert program("models", "pull", name, *mending).code == 0
            assert path.read_bytes() == whole


class TestDescription:
    def test_the_list_says_what_each_model_is_and_whether_it_is_there(
        self, program: Program, server: HubServer, goliath: Path
    ) -> None:
        publish(server, "sapiens-0.6b:bfloat16", goliath.read_bytes())
        assert program("models", "pull", "sapiens-0.6b:bfloat16").code == 0
        lines = program("models", "list").stdout.splitlines()
        rows = {line.split()[0]: line.split()[1:] for line in lines[1 : 1 + len(KNOWN)]}
        assert list(rows) == list(KNOWN)
        assert rows["builtin"] == ["28", "3.71", "M", "-", "7.5", "MB", "Apache-2.0", "yes"]
        assert rows["sapiens-1b"] == ["28", "1.18", "B", "11.26", "4.71", "GB", "CC-BY-NC", "4.0", "no"]
        assert rows["sapiens-0.6b"][-1] == "bfloat16"
        assert rows["sapiens2-5b"] == ["29", "5.07", "B", "36.7", "-", "Sapiens2", "no"]
        models = {each["name"]: each for each in json.loads(program("models", "list", "--json").stdout)["models"]}
        assert list(models) == list(KNOWN)
        assert [bool(file["path"]) for file in models["sapiens-0.6b"]["files"]] == [False, False, True]
        assert models["sapiens2-1b"]["licence"]["to_be_accepted"]

    def test_a_published_model_that_is_not_here(self, program: Program, home: Path) -> None:
        outcome = program("models", "info", "sapiens2-1b")
        assert outcome.code == 0
        for said in ("no; fetch it: sapiens-stream models pull sapiens2-1b", "29", "1.46 B", "11.54 TFLOP", "LICENSE"):
            assert said in outcome.stdout

    def test_a_fetched_model_and_its_checksum(
        self, program: Program, server: HubServer, home: Path, tmp_path: Path
    ) -> None:
        plain = tiny_torchscript(tmp_path / "colour.pt2")
        publish(server, SMALL, plain.read_bytes())
        assert program("models", "pull", SMALL).code == 0
        facts = json.loads(program("models", "info", SMALL, "--json", "--sha256").stdout)
        assert (facts["name"], facts["format"], facts["classes"]) == (SMALL, "torchscript", 28)
        assert (facts["parameters"], facts["precision"], facts["input"]) == (112, "float32", [256, 192])
        assert facts["sha256"] == facts["sha256_of_the_hub"] == hashlib.sha256(plain.read_bytes()).hexdigest()
        path = cached(home, SMALL)
        assert path is not None
        content = bytearray(path.read_bytes())
        content[200] ^= 1
        path.write_bytes(content)
        outcome = program("models", "info", SMALL, "--sha256")
        assert "NOT the hub's" in outcome.stdout and f"models pull {SMALL} --force" in outcome.stdout

    @pytest.mark.parametrize(
        ("which", "said"),
        [
            ("colour_torchscript", ("torchscript", "float32", "256x192", "its own TorchScript graph")),
            ("colour_export", ("torch-export", "bfloat16", "256x192", "its own torch.export graph")),
        ],
    )
    def test_a_file_by_its_content(
        self, program: Program, request: pytest.FixtureRequest, tmp_path: Path, which: str, said: tuple[str, ...]
    ) -> None:
        path = shutil.copy(request.getfixturevalue(which), tmp_path / "weights.bin")
        outcome = program("models", "info", path)
        assert outcome.code == 0
        for text in (*said, "28"):
            assert text in outcome.stdout

    def test_builtin(self, program: Program) -> None:
        facts = json.loads(program("models", "info", "builtin", "--json").stdout)
        assert (facts["parameters"], facts["run_by"], facts["classes"]) == (3_707_436, "builtin", 28)

    def test_weights_that_nothing_runs_are_still_described(self, program: Program, tmp_path: Path) -> None:
        save_file({"weight": torch.zeros(1000, dtype=torch.float16)}, tmp_path / "a.safetensors")
        outcome = program("models", "info", tmp_path / "a.safetensors")
        assert outcome.code == 0
        assert "float16" in outcome.stdout and "not run" in outcome.stdout

    @pytest.mark.parametrize("content", [b"", b"<html>", None])
    def test_what_is_no_checkpoint(self, program: Program, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "a.pt2").write_bytes(content)
        outcome = program("models", "info", tmp_path / "a.pt2")
        assert outcome.code == 1 and str(tmp_path / "a.pt2") in complaint(outcome)
