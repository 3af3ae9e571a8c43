"""The models that go by a name, as data: where their files are, what they know, what they cost, what they allow."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sapiens_stream.classes import FOREGROUND, SAPIENS, SAPIENS2, ClassSet
from sapiens_stream.errors import UsageError
from sapiens_stream.models.licences import CC_BY_NC, SAPIENS2_LICENCE, Licence

BUILTIN = "builtin"
BUILTIN_WEIGHTS = Path(__file__).parent / "builtin" / "weights.safetensors"
BUILTIN_PARAMETERS = 3_059_436


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of weights on the Hugging Face hub; `size` in bytes, about, None where it is not known."""

    variant: str
    repository: str
    file: str
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model on the hub. Its `files` hold the same network; the first is the one to fetch, and to prefer."""

    name: str
    classes: ClassSet
    parameters: int
    """Of Sapiens2: its backbone's."""
    tflop: float
    """What one frame costs, head and attention included."""
    licence: Licence
    files: tuple[HubFile, ...]


@dataclass(frozen=True)
class Choice:
    """What a user asked for: a published model, and those of its files that will do, the preferred first."""

    model: Published
    files: tuple[HubFile, ...]
    name: str
    """As it was asked for: "sapiens-1b" or "sapiens-1b:bfloat16"."""


def _sapiens(size: str, trained: str, parameters: int, tflop: float) -> Published:
    # TorchScript first: any torch can also run it as it is. The bfloat16 file's weights, though half the size, are
    # rounded, and its graph is tied to the torch that saved it.
    stem = f"sapiens_{size}_goliath_best_goliath_{trained}"
    repository = f"facebook/sapiens-seg-{size}"
    full = 4 * parameters
    return Published(
        name=f"sapiens-{size}",
        classes=SAPIENS,
        parameters=parameters,
        tflop=tflop,
        licence=CC_BY_NC,
        files=(
            HubFile(
                variant="torchscript",
                repository=f"{repository}-torchscript",
                file=f"{stem}_torchscript.pt2",
                size=full,
            ),
            HubFile(variant="pth", repository=repository, file=f"{stem}.pth", size=full),
            HubFile(
                variant="bfloat16",
                repository=f"{repository}-bfloat16",
                file=f"{stem}_bfloat16.pt2",
                size=full // 2,
            ),
        ),
    )


def _sapiens2(size: str, parameters: int, tflop: float) -> Published:
    # The repositories hold the same weights once more as model.safetensors.
    file = HubFile(
        variant="safetensors", repository=f"facebook/sapiens2-seg-{size}", file=f"sapiens2_{size}_seg.safetensors"
    )
    return Published(
        name=f"sapiens2-{size}",
        classes=SAPIENS2,
        parameters=parameters,
        tflop=tflop,
        licence=SAPIENS2_LICENCE,
        files=(file,),
    )


PUBLISHED = {
    model.name: model
    for model in (
        _sapiens("0.3b", "mIoU_7673_epoch_194", 339_495_196, 4.73),
        _sapiens("0.6b", "mIoU_7777_epoch_178", 670_993_436, 7.38),
        _sapiens("1b", "mIoU_7994_epoch_151", 1_178_705_692, 11.26),
        _sapiens2("0.4b", 398_000_000, 3.59),
        _sapiens2("0.8b", 818_000_000, 6.80),
        _sapiens2("1b", 1_462_000_000, 11.54),
        _sapiens2("5b", 5_071_000_000, 36.7),
        Published(
            name="sapiens-foreground-1b",
            classes=FOREGROUND,
            parameters=1_178_684_929,
            tflop=11.26,
            licence=CC_BY_NC,
            files=(
                HubFile(
                    variant="torchscript",
                    repository="facebook/sapiens-seg-foreground-1b-torchscript",
                    file="sapiens_1b_seg_foreground_epoch_8_torchscript.pt2",
                    size=4 * 1_178_684_929,
                ),
            ),
        ),
    )
}
"""The models of the hub by name."""

KNOWN = (BUILTIN, *PUBLISHED)
"""Every name that a model goes by."""


def lookup(name: str) -> Choice | None:
    """What a name such as "sapiens-1b" or "sapiens-1b:bfloat16" stands for; None if no published model has it.

    >>> [file.variant for file in lookup("sapiens-1b").files]
    ['torchscript', 'pth', 'bfloat16']

    Raises UsageError for a variant that the model does not have.
    """
    base, _, variant = name.partition(":")
    model = PUBLISHED.get(base)
    if model is None:
        return None
    files = tuple(file for file in model.files if file.variant == variant) if variant else model.files
    if not files:
        there = ", ".join(file.variant for file in model.files)
        raise UsageError(f"{base} has no variant {variant!r}; there is {there}")
    return Choice(model, files, name.removesuffix(":"))


def unknown_model(name: str) -> UsageError:
    """The error for what is neither a name nor a file, with the name that was most likely meant."""
    close = get_close_matches(name.lower(), KNOWN, 1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return UsageError(f"no model {name!r}: neither a file nor one of {', '.join(KNOWN)}{meant}")
