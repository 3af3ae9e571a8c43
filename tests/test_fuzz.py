"""A short, fixed slice of the fuzzer; `python -m tests.fuzz` runs it for longer."""

from __future__ import annotations

import sys

import pytest

from tests import fuzz


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
@pytest.mark.parametrize(("kind", "count"), [("photo", 60), ("video", 20), ("list", 20), ("pipeline", 6)])
def test_hostile_files_do_no_harm(kind: str, count: int) -> None:
    findings = fuzz.fuzz(3600, 2026, count=count, only=kind)
    assert findings.ran[kind] == count
    assert not findings.failed
