"""Which failures belong to one input, so that the next is begun, and which would meet every other input too."""

from __future__ import annotations

import errno

from sapiens_stream.errors import FolderLost, FolderTaken, InputError, OutputError, Stalled, out_of_memory

# A full disk, one that cannot be written, a device or a server that is gone, and a process that may open no more files.
_OF_THE_MACHINE = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EROFS",
        "EIO",
        "ENODEV",
        "ENXIO",
        "ENOTCONN",
        "ECONNABORTED",
        "EHOSTDOWN",
        "ETIMEDOUT",
        "ESTALE",
        "EMFILE",
        "ENFILE",
    )
    if hasattr(errno, name)
)


def belongs_to_input(error: BaseException) -> bool:
    """True if another input may well succeed: this one cannot be read, written, or held in memory.

    A full or lost disk, a folder that was deleted, a device, a model and a setting are everybody's.
    """
    if isinstance(error, FolderLost):
        return False
    if isinstance(error, OutputError):
        return not any(_of_the_machine(each) for each in _causes(error))
    return isinstance(error, (InputError, FolderTaken, Stalled)) or out_of_memory(error)


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    return chain


def _of_the_machine(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _OF_THE_MACHINE
