"""The schemas of what is written: real files are as they say, and any slip in one is found."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.media import make_photo, make_video, picture
from tests.program import Program
from tests.schemas import FILES, Written, mistakes, mistakes_below

OPEN = ("settings", "stages", "versions", "endings", "single")
"""Members whose own members follow from options, stages, packages or files: any name will do."""
ALONE = ("carried", "damaged", "regions", "live", "video", "frames", "snapshots")
"""Those that need not be there."""


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each kind, as the program writes them."""
    from sapiens_stream.cli import main

    folder = tmp_path_factory.mktemp("written")
    make_video(folder / "clip.mp4", frames=2)
    make_photo(folder / "a.jpg", picture(1, (96, 128)))
    live = ["lavfi:testsrc2=size=160x96:rate=30", "--no-window", "--max-frames", 4, "--reconnect", "no"]
    lines = [
        ["video", folder / "clip.mp4", "-o", folder / "video", "--regions", "rle", "--save", "json,jsonl", "-q"],
        ["images", folder / "a.jpg", "-o", folder / "photos", "-q"],
        ["live", *live, "--save", "json", "-o", folder / "live", "-q"],
    ]
    for line in lines:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr("sys.argv", ["sapiens-stream", *map(str, line)])
            main()
        assert end.value.code == 0
    [photo, *frames] = [
        json.loads(text)
        for text in ((folder / "photos/a.json").read_text(), *(folder / "video/clip.jsonl").read_text().splitlines())
    ]
    return {
        "a photo": photo | _found(polygons=[[[1, 2], [1, 3], [2, 3], [2, 2]]]),
        "a frame": frames[0] | _found(rle={"size": [96, 160], "counts": "0"}),
        "a video's record": json.loads((folder / "video" / "clip_run.json").read_text()),
        "photos' record": json.loads(next((folder / "photos").glob("*_run.json")).read_text()),
        "a live record": json.loads((folder / "live" / "live_run.json").read_text()),
    }


def _found(**region: Any) -> dict[str, Any]:
    """What is found in a made-up picture is as it may be; here there is a face for certain."""
    label = {"id": 2, "name": "Face_Neck", "pixels": 4, "fraction": 0.0003, "bbox": [1, 2, 2, 2]}
    return {"labels": [label], "regions": [{"id": 2, "name": "Face_Neck", **region}]}


KINDS = ("a photo", "a frame", "a video's record", "photos' record", "a live record")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_as_its_schema_says(documents: dict[str, Any], kind: str) -> None:
    assert mistakes(documents[kind]) == []


def members(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all members whose names are fixed."""
    if isinstance(document, dict):
        for name, value in document.items():
            if not path or path[-1] not in OPEN:
                yield (*path, name)
            yield from members(value, (*path, name))
    elif isinstance(document, list):
        for index, value in enumerate(document[:1]):
            yield from members(value, (*path, index))


def _changed(document: Any, path: tuple[Any, ...], change: Any) -> Any:
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    change(place, path[-1])
    return changed


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_a_missing_and_a_nonsensical_member_are_found(documents: dict[str, Any], kind: str) -> None:
    document = documents[kind]
    paths = [path for path in members(document) if path != ("schema",)]
    assert len(paths) > 10
    for path in paths:
        misspelt = _changed(document, path, lambda place, name: place.update({f"{name}s": place.pop(name)}))
        assert mistakes(misspelt), f"{path} may be misspelt"
        nonsense = _changed(document, path, lambda place, name: place.update({name: [{"x": {}}]}))
        assert mistakes(nonsense), f"{path} may be nonsense"
        if path[-1] not in ALONE and path[:2] != ("fingerprint", "input"):
            missing = _changed(document, path, lambda place, name: place.pop(name))
            assert mistakes(missing), f"{path} may be missing"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("a photo", {"carried": 0}),
        ("a photo", {"damaged": False}),
        ("a photo", {"width": 0}),
        ("a photo", {"frame": -1}),
        ("a photo", {"time": "0.5"}),
        ("a photo", {"regions": [{"id": 2, "name": "Face_Neck"}]}),
        ("a photo", {"regions": [{"id": 0, "name": "Background", "polygons": [[[0, 0]]]}]}),
        ("a photo", {"labels": [{"id": 2, "name": "Hair", "pixels": 1, "fraction": 1.5, "bbox": [0, 0, 1, 1]}]}),
        ("a photo", {"labels": [{"id": 2, "name": "Hair", "pixels": 1, "fraction": 0.5, "bbox": [0, 0, 1]}]}),
        ("a video's record", {"status": "done"}),
        ("a video's record", {"status": "failed", "error": None}),
        ("a video's record", {"started": "yesterday"}),
        ("a video's record", {"settings": {"No Name": 1}}),
        ("a video's record", {"batch_size": 0}),
    ],
)
def test_a_value_that_cannot_be_is_found(documents: dict[str, Any], kind: str, change: dict[str, Any]) -> None:
    assert mistakes(documents[kind] | change)


def test_an_input_that_could_not_be_opened_has_a_line_of_its_own(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    outcome = program("video", tmp_path / "a.mp4", "-o", tmp_path / "out", "--json")
    [line] = map(json.loads, outcome.stdout.splitlines())
    assert line["status"] == "failed" and mistakes(line) == []
    assert mistakes({**line, "seconds": 1})


class TestWhatWatchesTheTests:
    """The fixture of `tests.schemas`, which holds what every test writes against the schemas."""

    def test_what_is_written_in_this_process_is_seen(
        self, _written: Written, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_photo(tmp_path / "a.jpg", picture(1, (96, 128)))
        assert program("images", tmp_path / "a.jpg", "-o", tmp_path / "out", "--title", "seen").code == 0
        assert _written.take() == []
        monkeypatch.setattr("sapiens_stream.pipeline.record.versions", lambda: {"pyton": "3"})
        program("images", tmp_path / "a.jpg", "-o", tmp_path / "out", "--title", "seen")
        assert any("$.versions" in each for each in _written.take())

    def test_what_others_left_is_seen(self, documents: dict[str, Any], tmp_path: Path) -> None:
        lines = [documents["a photo"], documents["a photo"] | {"with": 1}]
        (tmp_path / "clip.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (tmp_path / "other.json").write_text('{"schema": "of something else"}')
        (tmp_path / "cut.json").write_text('{"schema": "sapiens-stream/1", ')
        [mistake] = mistakes_below(tmp_path)
        assert "'with' was unexpected" in mistake


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all in it."""
    if isinstance(schema, dict):
        yield schema
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(each)


@pytest.mark.parametrize("file", FILES.values())
def test_generators_of_types_find_every_member(file: str) -> None:
    """Those for TypeScript know neither prefixItems nor a $ref beside other members: coordinates and people were lost;
    Ajv warns of a whole schema or a definition that does not say that it is of an object."""
    schema = json.loads((files("sapiens_stream.sinks") / file).read_text())
    for part in parts(schema):
        assert "prefixItems" not in part, part
        assert "$ref" not in part or not {"properties", "allOf"} & part.keys(), part
    for part in (schema, *schema["$defs"].values()):
        assert "type" in part or not {"properties", "required", "if"} & part.keys(), part
