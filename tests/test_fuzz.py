"""A short, fixed slice of the fuzzer; `python -m tests.fuzz` runs it for longer."""

from __future__ import annotations

import sys

import pytest

from tests import fuzz


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_hostile_files_do_no_harm() -> None:
    findings = fuzz.fuzz(3600, 2026, count=100, kinds=("photo", "video", "list", "pipeline"))
    assert findings.ran.total() == 100 and len(findings.ran) == 4
    assert not findings.failed
