"""What turns pixels into logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_stream.errors import UsageError

if TYPE_CHECKING:
    from sapiens_stream.models.model import Model

_SUFFIXES = (".pt2", ".pt", ".pth", ".ts", ".bin", ".ckpt", ".safetensors", ".onnx")


def open_model(name_or_path: str | Path, *, shape: tuple[int, int] | None = None) -> Model:
    """Opens a model by a name of `KNOWN` or a checkpoint's path. `shape` is the (height, width) to feed it.

    >>> open_model("sapiens_1b_goliath_best_goliath_mIoU_7994_epoch_151_torchscript.pt2").classes.title
    'Sapiens'

    A file of that name goes before the name. Raises UsageError for an unknown name, naming those known, or a shape that
    can not be, and ModelError for a file that can not be opened.
    """
    if shape is not None and min(shape) < 1:
        raise UsageError(f"a shape of {shape[0]}x{shape[1]} (height x width); both are 1 or more")
    name = str(name_or_path)
    path = Path(name).expanduser()
    loader = KNOWN.get(name)
    is_path = isinstance(name_or_path, Path) or "/" in name or "\\" in name or path.suffix.lower() in _SUFFIXES
    if is_path or path.is_file() or (loader is None and path.exists()):
        from sapiens_stream.models.checkpoints import open_checkpoint

        return open_checkpoint(path, shape)
    if loader is None:
        raise UsageError(f"no model {name!r}: neither a file nor one of {', '.join(KNOWN)}")
    return loader(shape)


def _builtin(shape: tuple[int, int] | None) -> Model:
    from sapiens_stream.models.builtin import load_builtin

    return load_builtin() if shape is None else load_builtin(height=shape[0], width=shape[1])


def _sapiens(size: str, trained: str, _shape: tuple[int, int] | None) -> Model:
    repository = f"facebook/sapiens-seg-{size}-torchscript"
    file = f"sapiens_{size}_goliath_best_goliath_{trained}_torchscript.pt2"
    raise UsageError(
        f"sapiens-{size} is not fetched by this version: download {file} from https://huggingface.co/{repository}"
        " and give its path as the model"
    )


def _sapiens2(size: str, _shape: tuple[int, int] | None) -> Model:
    raise UsageError(
        f"sapiens2-{size} is not run by this version: https://huggingface.co/facebook/sapiens2-seg-{size} holds"
        f" sapiens2_{size}_seg.safetensors, weights alone; give the path of a TorchScript or torch.export file of it"
    )


KNOWN: dict[str, Callable[[tuple[int, int] | None], Model]] = {
    "builtin": _builtin,
    "sapiens-0.3b": partial(_sapiens, "0.3b", "mIoU_7673_epoch_194"),
    "sapiens-0.6b": partial(_sapiens, "0.6b", "mIoU_7777_epoch_178"),
    "sapiens-1b": partial(_sapiens, "1b", "mIoU_7994_epoch_151"),
    "sapiens2-0.4b": partial(_sapiens2, "0.4b"),
    "sapiens2-0.8b": partial(_sapiens2, "0.8b"),
    "sapiens2-1b": partial(_sapiens2, "1b"),
    "sapiens2-5b": partial(_sapiens2, "5b"),
}
"""The models that go by a name, and how each is loaded."""
