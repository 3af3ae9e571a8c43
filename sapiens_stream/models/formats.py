"""The formats of checkpoint files, told apart by content: names say little, as two of them are called `.pt2`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

from sapiens_stream.errors import ModelError, cause
from sapiens_stream.models.archive import Archive
from sapiens_stream.models.onnx_file import looks_like_onnx

Format = Literal["torchscript", "torch-export", "onnx", "state dict", "safetensors"]


def recognise(path: Path) -> Format:
    """The format of a checkpoint. Reads a few bytes and the archive's table; raises ModelError if it is none.

    A folder with a config.json is how transformers keeps safetensors.
    """
    try:
        if path.is_dir() and (path / "config.json").is_file():
            return "safetensors"
        if path.exists() and not path.is_dir() and not path.is_file():  # opening a pipe would wait for its other end
            raise ModelError(f"{path} is no regular file; a checkpoint is one")
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"PK"):
            return _recognise_archive(path, Archive.map(path).names)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, not a checkpoint file") from None
    except BadZipFile as error:
        raise ModelError(f"{path} is cut short or damaged: an archive, but {error}; fetch it again") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {cause(error)}") from error
    except (ValueError, RuntimeError, MemoryError) as error:  # zipfile, of impossible names and versions
        raise ModelError(f"{path} is a damaged archive: {cause(error)}") from error
    if head[8:10] == b'{"':  # the length of a JSON header, then the header
        return "safetensors"
    if head.startswith(b"\x80"):  # a pickle's first opcode; never loaded
        return "state dict"
    if looks_like_onnx(head):
        return "onnx"
    raise ModelError(f"{path} is not a checkpoint but {_content(head)}")


def weights_file(path: Path) -> Path:
    """The file that counts of a folder of transformers; of a file, itself. Raises ModelError where it is in parts."""
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.safetensors"))
    file = path / "model.safetensors"
    if file not in files and len(files) != 1:
        raise ModelError(
            f"{path} is a folder of {len(files)} safetensors files; one is needed, model.safetensors:"
            ' save_pretrained(..., max_shard_size="100GB") writes it'
        )
    return file if file in files else files[0]


def _recognise_archive(path: Path, names: list[str]) -> Format:
    inner = {name.partition("/")[2] for name in names}
    if "serialized_exported_program.json" in names or any(name.startswith("models/") for name in inner):
        return "torch-export"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "torchscript"
    if "data.pkl" in inner:
        return "state dict"
    raise ModelError(f"{path} is not a checkpoint but some other archive ({', '.join(names[:3]) or 'empty'})")


def _content(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; fetch the file itself (git lfs pull)"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page; fetch the file itself"
    try:
        head.decode("ascii")
    except UnicodeDecodeError:
        return "a file of another kind"
    return "text"
