"""Threads that one owner starts, cancels and joins: neither a thread nor a failure is forgotten."""

from __future__ import annotations

import logging
import threading
from threading import Event

import pytest

from sapiens_stream.threads import ThreadGroup


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
