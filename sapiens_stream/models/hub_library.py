"""huggingface_hub, imported where it is needed: it reads its settings in the environment as it is imported."""

from __future__ import annotations

from types import ModuleType

from sapiens_stream.errors import UsageError, cause
from sapiens_stream.redaction import redacted_text


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
