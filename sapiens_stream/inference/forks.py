"""Processes forked from one with a model: its threads are not in them, and torch waits for its own for ever."""

from __future__ import annotations

import os

import torch

from sapiens_stream.errors import UsageError

SPAWN = "multiprocessing.get_context('spawn') starts processes that can have their own"

_home: int | None = None
"""The process in which a model was opened last."""


def require_torch() -> None:
    """Before a model is opened.

    Raises UsageError in a process that was forked from one with a model, where torch would hang
    (https://github.com/pytorch/pytorch/issues/17199), unless it has been told to make do with a single thread.
    """
    global _home
    here = os.getpid()
    if _home not in (None, here) and torch.get_num_threads() > 1:
        raise UsageError(
            f"this process was forked from one with a model, after which torch hangs; {SPAWN}, and so can this one "
            "after torch.set_num_threads(1)"
        )
    _home = here
