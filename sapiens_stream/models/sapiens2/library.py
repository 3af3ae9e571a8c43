"""The library `transformers`, which has the networks of Sapiens2: whether it is there, and a network with weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sapiens_stream.errors import ModelError, cause
from sapiens_stream.install_line import install_line

TRANSFORMERS = (5, 10, 1)
"""The oldest release that has the network."""


def require_library() -> None:
    """Raises ModelError where it is missing or too old, and says how to install it."""
    needs = "is a Sapiens2 checkpoint, which the library transformers runs"
    install = install_line("sapiens2")
    try:
        version = metadata.version("transformers")
    except metadata.PackageNotFoundError:
        raise ModelError(f"{needs}: {install}") from None
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < TRANSFORMERS:
        raise ModelError(f"{needs} from {'.'.join(map(str, TRANSFORMERS))} on; {version} is installed: {install}")


def load_network(file: Path, settings: Mapping[str, Any], dtype: torch.dtype, named: str) -> torch.nn.Module:
    """The library's class of that name with the weights in a safetensors file. Raises ModelError if they do not fit."""
    try:
        import transformers
        from transformers import PreTrainedModel, Sapiens2Config

        network_type = getattr(transformers, named)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"needs the library transformers with {named}, which fails: {cause(error)}") from error
    try:
        weights = load_file(file)
        with _quiet_transformers():
            network, told = network_type.from_pretrained(
                None,
                config=Sapiens2Config(**settings),
                state_dict=weights,
                dtype=dtype,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"cannot be loaded as a Sapiens2 network: {cause(error)}") from error
    wrong = {
        "missing": sorted(told["missing_keys"]),
        "unknown": sorted(told["unexpected_keys"]),
        "misshapen": sorted(name for name, *_ in told["mismatched_keys"]),
    }
    if any(wrong.values()):
        listed = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in wrong.items() if names)
        raise ModelError(f"does not hold the weights of this Sapiens2 network: {listed}")
    for part in network.modules():
        if isinstance(part, PreTrainedModel):
            part.loss_function = None  # whatever traces the network asks for it, and is answered with a warning
    return network.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keeps its progress bar and report from the terminal: what matters of it is raised."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
