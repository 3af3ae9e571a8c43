"""huggingface_hub, imported where it is needed: it reads its settings in the environment as it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

from sapiens_stream.errors import UsageError, cause
from sapiens_stream.redaction import redacted_text

_SOON = 0.5  # seconds


def hub_library() -> ModuleType:
    """The library, with its `constants`. Raises UsageError where it cannot take what the environment sets."""
    try:
        import huggingface_hub.file_download  # which imports all that reads the environment
    except ValueError as error:
        raise UsageError(
            f"huggingface_hub cannot read its settings ({redacted_text(cause(error))});"
            " look at HF_ENDPOINT and the other HF_ variables of the environment"
        ) from error
    return huggingface_hub


@contextmanager
def locked(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock of files that several programs fetch; where another has it, `waiting` is called once before."""
    library = hub_library().utils
    with ExitStack() as held:
        try:
            held.enter_context(library.WeakFileLock(lock, timeout=_SOON))
        except TimeoutError:
            waiting()
            held.enter_context(library.WeakFileLock(lock))
        yield
