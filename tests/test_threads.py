"""Threads that one owner starts, cancels and joins: neither a thread nor a failure is forgotten."""

from __future__ import annotations

import logging
import math
import re
import threading
from pathlib import Path
from threading import Event

import pytest

from sapiens_stream.threads import ThreadGroup

PACKAGE = Path(__file__).parents[1] / "sapiens_stream"


def fail(problem: str) -> None:
    raise ValueError(problem)


def test_each_runs_under_its_name_and_is_joined() -> None:
    names: list[str] = []
    group = ThreadGroup()
    for name in ("source", "engine"):
        group.start(name, lambda: names.append(threading.current_thread().name))
    assert group.close() == () and sorted(names) == ["engine", "source"] and group.failure is None


def test_the_first_failure_is_kept_and_ends_the_others(caplog: pytest.LogCaptureFixture) -> None:
    over = Event()
    calls: list[int] = []

    def cancel() -> None:
        calls.append(1)
        over.set()

    group = ThreadGroup(cancel)
    group.start("waits", lambda: over.wait() and fail("second"))
    group.start("fails", lambda: fail("first"))
    assert group.join() == ()
    assert str(group.failure) == "first" and calls == [1]
    assert [record.getMessage() for record in caplog.records] == [
        f"thread {name} failed: ValueError: {problem}" for name, problem in (("fails", "first"), ("waits", "second"))
    ]
    group.close()
    assert calls == [1]


def test_one_that_does_not_end_is_named_and_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    stuck = Event()
    group = ThreadGroup(join_seconds=0.05)
    group.start("quick", lambda: None)
    group.start("stuck", lambda: stuck.wait() and None)
    with caplog.at_level(logging.WARNING):
        assert group.close() == ("stuck",)
    assert [record.getMessage() for record in caplog.records] == ["thread stuck did not end within 0.05 s"]
    stuck.set()
    assert group.join() == ()


def test_none_is_started_once_the_group_has_ended() -> None:
    group = ThreadGroup()
    group.cancel()
    with pytest.raises(RuntimeError, match="late: its group has ended"):
        group.start("late", lambda: None)


def test_one_of_its_own_may_close_it() -> None:
    group = ThreadGroup()
    found: list[tuple[str, ...]] = []
    group.start("closes", lambda: found.append(group.close()))
    assert group.join() == () and found == [()] and group.failure is None


def test_one_may_be_late_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    stuck = Event()
    group = ThreadGroup(stuck.set, join_seconds=0.05, log_late=False)
    group.start("stuck", lambda: stuck.wait() and None)
    assert group.join() == ("stuck",) and not caplog.records
    assert group.close() == ()


def test_it_may_be_waited_for_without_an_end() -> None:
    group = ThreadGroup(join_seconds=math.inf)
    group.start("quick", lambda: None)
    assert group.join() == ()


def test_the_package_starts_no_thread_without_an_owner() -> None:
    """Threads are of a group; an executor stands in a `with`, or its owner's file shuts it down, or it is cached."""
    lonely = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name != "threads.py" and re.search(r"\bThread\b|\bstart_new_thread\b|\bTimer\(", text):
            lonely.append(path)
        owned = r"with (Pool|Thread)|\.shutdown\(|@cache\ndef \w+\(\) -> Pool:"
        if re.search(r"\b(Pool|ThreadPoolExecutor)\(", text) and not re.search(owned, text):
            lonely.append(path)
    assert not lonely
