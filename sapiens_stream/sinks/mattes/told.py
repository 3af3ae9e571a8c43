"""What is said of a matte in its own file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sapiens_stream.classes import ClassSet
    from sapiens_stream.sinks.outputs import Outputs


def described(outputs: Outputs, classes: ClassSet, *, alone: bool) -> str:
    """In a line: which classes are opaque, whether the alpha is straight, and how its edges were made."""
    opaque = (
        "all but the background" if outputs.only is None else ", ".join(classes.names[each] for each in outputs.only)
    )
    alpha = "matte alone" if alone else f"{alpha_word(outputs.premultiplied)} alpha"
    return f"sapiens-stream matte: {alpha}; opaque: {opaque}; edges: {outputs.edge}"


def alpha_word(premultiplied: bool) -> str:
    return "premultiplied" if premultiplied else "straight"
