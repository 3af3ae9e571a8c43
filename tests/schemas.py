"""Every JSON that a test has written is held against its schema once the test is over, away from a frame's path."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from sapiens_stream.cli import batch_runner
from sapiens_stream.pipeline import batch_file, event_log, run_folder
from sapiens_stream.pipeline import record as records
from sapiens_stream.settings import BATCH_SCHEMA, FRAME_SCHEMA, LOG_SCHEMA, RUN_SCHEMA
from sapiens_stream.sinks import json_file

FILES = {
    FRAME_SCHEMA: "frame.schema.json",
    RUN_SCHEMA: "run.schema.json",
    BATCH_SCHEMA: "batch.schema.json",
    LOG_SCHEMA: "log.schema.json",
}


@functools.cache
def _validator(file: str) -> Draft202012Validator:
    schema = json.loads(Path(json_file.__file__).with_name(file).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def mistakes(document: Any) -> list[str]:
    """Where a document is not what its schema says, and why."""
    found = _validator(FILES[document["schema"]]).iter_errors(document)
    return [f"{error.json_path}: {error.message[:300]}" for error in found]


class Written:
    """What was written since it was last looked at, as text, each once."""

    def __init__(self) -> None:
        self._texts: dict[bytes, None] = {}

    def frame(self, encode: Callable[..., bytes], record: Mapping[str, Any], **options: Any) -> bytes:
        """In place of `orjson.dumps` for a frame: outlines are kept in short, as they are all of one kind."""
        text = encode(record, **options)
        regions = [_in_short(region) for region in record.get("regions", ())]
        short = {**record, "regions": regions} if regions else record
        self._texts[encode(short, **options)] = None
        return text

    def run(self, encode: Callable[..., str], record: Mapping[str, Any], **options: Any) -> str:
        """In place of `run_folder.as_text`."""
        text = encode(record, **options)
        if record.get("schema") in FILES:  # what a test calls a record need not be one
            self._texts[text.encode()] = None
        return text

    def take(self) -> list[str]:
        """Says what is wrong with it, and forgets it."""
        texts, self._texts = self._texts, {}
        return [mistake for text in texts for mistake in mistakes(json.loads(text))]


def _in_short(region: Mapping[str, Any]) -> Mapping[str, Any]:
    if "polygons" not in region:
        return region
    rings = region["polygons"]
    return {**region, "polygons": [ring[:2] for ring in (*rings[:1], *rings[-1:])]}


class Processes:
    """How many processes a test began; what they wrote is found in its folder alone."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        begin = subprocess.Popen.__init__

        def counted(process: Any, *arguments: Any, **settings: Any) -> None:
            self.begun += 1
            begin(process, *arguments, **settings)

        patch.setattr(subprocess.Popen, "__init__", counted)


@pytest.fixture(scope="session")
def _patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def _processes(_patch: pytest.MonkeyPatch) -> Processes:
    return Processes(_patch)


@pytest.fixture(scope="session")
def _written(_patch: pytest.MonkeyPatch) -> Written:
    written = Written()
    dumps = functools.partial(written.frame, orjson.dumps)
    _patch.setattr(json_file, "orjson", SimpleNamespace(**{**vars(orjson), "dumps": dumps}))
    as_text = functools.partial(written.run, run_folder.as_text)
    for module in (run_folder, records, batch_file, event_log, batch_runner):
        _patch.setattr(module, "as_text", as_text)
    return written


@pytest.fixture(autouse=True)
def _json_is_as_the_schemas_say(
    _written: Written, _processes: Processes, request: pytest.FixtureRequest
) -> Iterator[None]:
    """What a test wrote in this process, and what others left in its folder if it began any."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    begun = _processes.begun
    yield
    found = _written.take()
    if folder is not None and _processes.begun > begun:
        found += mistakes_below(folder)
    assert found == [], "declare in sapiens_stream/sinks/*.schema.json what is meant to be there"


def mistakes_below(folder: Path) -> list[str]:
    """What is wrong with the frames' JSON and the records in a folder; what is neither is passed over."""
    found = []
    for path in (*folder.rglob("[!.]*.json"), *folder.rglob("[!.]*.jsonl")):
        try:
            text = path.read_bytes()
            documents = [json.loads(line) for line in (text.splitlines() if path.suffix == ".jsonl" else [text])]
        except (OSError, ValueError, RecursionError):
            continue
        for document in documents:
            if isinstance(document, dict) and document.get("schema") in FILES:
                regions = [_in_short(region) for region in document.get("regions", ())]
                found += mistakes({**document, "regions": regions} if regions else document)
    return found
