"""What a user may have meant: inputs and models that are another command's, found before anything large is loaded."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from glob import has_magic
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from sapiens_stream.errors import InputError, ModelError, UsageError
from sapiens_stream.home import absence, expanded
from sapiens_stream.redaction import redacted_text
from sapiens_stream.settings import MODEL

if TYPE_CHECKING:
    from sapiens_stream.sources.pattern import Pattern

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .ts .mts .m2ts .mpg .mpeg .vob .wmv .flv .3gp .ogv .mxf".split()  # noqa: SIM905
)
_MODEL_SUFFIXES = (".pt2", ".pt", ".pth", ".ckpt", ".safetensors", ".onnx")
_HEAD = 4096  # bytes, within which a file says that it is animated
_ENTRIES_READ = 10_000  # of a folder, to tell what it holds


def looks_like_video(name: str | Path) -> bool:
    """By its ending."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def missing(name: str) -> bool:
    """Whether it names a file, or numbered pictures, and there is none. An address or "-" names none."""
    if name == "-" or "://" in name or os.path.lexists(name):
        return False
    return (pattern := _pattern(name)) is None or pattern.problem() is not None


def video_problem(name: str) -> str | None:
    """Why `video` cannot take a name, and what would be right; None where only opening it tells."""
    if _is_model(name):
        return f"{name} is a model, not a video; it is given as -m {quote(name)}"
    if missing(name):
        if _is_live(name):
            return f"{name} is a live source, not a file: sapiens-stream live {quote(name)}"
        pattern = _pattern(name)
        return f"{name}: {absence(name)}" if pattern is None else pattern.problem()
    path = Path(name)
    if _is_folder(path):
        return _folder_problem(path)
    if path.exists() and stat.S_ISCHR(path.stat().st_mode) and name.startswith("/dev/video"):
        return f"{name} is a camera, not a file: sapiens-stream live {quote(name)}"
    if _is_photo(path) and path.exists() and not _is_animated(path):
        return f"{name} is a photo, not a video: sapiens-stream images --input {quote(name)}" + _or_as_clip(path)
    if path.suffix.lower() == ".txt":
        return f"{name} is a list; of photos: sapiens-stream images --input {quote(name)}; videos are given by name"
    return None


def in_place_of_a_command(name: str) -> str | None:
    """What is said of an input where a command belongs; None of what is no input."""
    path, told = Path(name), quote(redacted_text(name))
    if _is_live(name):
        takes = f"live {told}"
    elif _is_folder(path):
        return (
            _folder_problem(path) if any(looks_like_video(each) or _is_photo(each) for each in _entries(path)) else None
        )
    elif looks_like_video(name) or _pattern(name) is not None:
        takes = f"video {told}"
    elif _is_photo(path):
        takes = f"images --input {told}"
    else:
        return None
    return f"{told} is an input; what takes it is: sapiens-stream {takes}"


def check_numbered(inputs: list[str]) -> None:
    """Raises UsageError for pictures that a shell has put in place of a name for them all."""
    from sapiens_stream.sources.pattern import pattern_of

    if (name := pattern_of(inputs)) is not None:
        raise UsageError(
            f"{len(inputs)} numbered pictures; as one clip: sapiens-stream video {quote(name)}; as photos:"
            f" sapiens-stream images --input {quote(inputs[0])} ..."
        )


def rate_of(fps: str | None, inputs: Sequence[str]) -> Fraction | None:
    """The frames a second that `--fps` says. Raises UsageError for what is no rate, and where no input takes one."""
    if fps is None:
        return None
    from sapiens_stream.sources.sequence import parse_rate

    rate = parse_rate(fps)
    if not any(map(_pattern, inputs)):
        raise UsageError(f"--fps is of numbered pictures (shot.%04d.png); {inputs[0]} is none, and has its own times")
    return rate


def _photos_problem(what: str) -> str | None:
    """The same for the photos of `images`."""
    if _is_model(what):
        return f"{what} is a model, not photos: sapiens-stream images {quote(what)} --input PHOTOS"
    if (pattern := _pattern(what)) is not None:
        as_photos = f"sapiens-stream images --input {quote(pattern.glob)}"
        return f"{what} names one clip: sapiens-stream video {quote(what)}; as photos: {as_photos}"
    if looks_like_video(what) and not _is_folder(what):
        return f"{what} is a video, not a photo: sapiens-stream video {quote(what)}"
    return None


def check_photos(what: str | list[str], results: Path | None) -> None:
    """Raises UsageError or InputError for photos, or a folder for their results, that there cannot be."""
    if isinstance(what, str):  # of several, those that are not there cost nothing but themselves
        if problem := _photos_problem(what):
            raise UsageError(problem)
        if missing(what) and not has_magic(what):
            raise InputError(f"{what}: {absence(what, 'no such file or folder')}")
    if results is not None and missing(str(results)) and (_is_photo(results) or looks_like_video(results)):
        raise UsageError(f"-o {results} looks like a file; it is the folder for the results")


def live_problem(name: str, *, realtime: bool) -> str | None:
    """The same for a source of `live`."""
    if _is_model(name):
        return f"{name} is a model, not a source; it is given as -m {quote(name)}"
    path = Path(name)
    if missing(name):
        file = looks_like_video(name) or _is_photo(path)
        return f"{name}: no such live source, and as a file: {absence(name)}" if file else None
    if _is_folder(path):
        return _folder_problem(path)
    if not path.is_file():
        return None
    if _is_photo(path):
        return f"{name} is a photo, not a source: sapiens-stream images --input {quote(name)}"
    if not realtime:
        return (
            f"{name} is a file; it is live only at its own speed (--realtime); as fast as it goes:"
            f" sapiens-stream video {quote(name)}"
        )
    return None


def videos_in(folder: Path) -> str | None:
    """The command that takes the videos of a folder; None where it holds none."""
    suffixes = Counter(path.suffix for path in _entries(folder) if looks_like_video(path))
    if not suffixes:
        return None
    [(suffix, _)] = suffixes.most_common(1)
    return f"sapiens-stream video {quote(str(folder))}/*{suffix}"


def check_model(name: str) -> None:
    """Raises ModelError or UsageError for a model that there cannot be, before torch is loaded."""
    from sapiens_stream.models import is_path
    from sapiens_stream.models.catalogue import BUILTIN, lookup, require_no_repository, unknown_model

    suffix = Path(name).suffix.lower()  # .ts is TorchScript's too
    if (suffix != ".ts" and looks_like_video(name)) or _is_photo(Path(name)):
        raise UsageError(f"{name} is no model, but an input; a model is a checkpoint or a name of `models list`")
    if not is_path(name):
        if name != BUILTIN and lookup(name) is None:
            raise unknown_model(name)
    elif missing(str(expanded(name))):
        path = expanded(name)
        require_no_repository(path)
        raise ModelError(f"{path}: {absence(path)}")


def model_and_photos(words: list[str], model: str | None, photos: str | None) -> tuple[str, str | list[str]]:
    """What `images MODEL --input PHOTOS`, `images PHOTOS`, `images MODEL PHOTOS` and the like stand for.

    `model` and `photos` are those given as options. Several photos, as a shell makes of a glob, are a list. Raises
    UsageError where that is too much, too little, or swapped.
    """
    rest = list(words)
    first = rest[:1] if model is None and rest and not _is_photos(rest[0]) else []
    several = [*([] if photos is None else [photos]), *rest[len(first) :]]
    if len(several) > 1 and all(_is_photo(Path(each)) and not _is_folder(each) for each in several):
        chosen = first[0] if first else model
        return MODEL if chosen is None else chosen, several
    if len(rest) > 1 and all(_is_photos(word) for word in rest):
        raise UsageError(f"{len(rest)} inputs; --input takes one folder, .txt list or quoted glob ('*.jpg'), or photos")
    if model is None and rest and (photos is not None or len(rest) > 1 or not _is_photos(rest[0])):
        model = rest.pop(0)
    if photos is None and rest:
        photos = rest.pop(0)
    if rest:
        raise UsageError(f"one word too many: {rest[0]}; sapiens-stream images MODEL --input PHOTOS")
    if model is not None and _is_photos(model) and (photos is None or _is_model(photos)):
        right = f"sapiens-stream images {quote(photos or 'MODEL')} --input {quote(model)}"
        raise UsageError(f"{model} is where the model is named, and holds photos: {right}")
    if photos is None:
        if words and model is not None and not _is_model(model) and not _is_folder(model):
            neither = "neither a photo of a kind that is read nor a list"
            what = absence(model, "no such file or folder") if missing(model) else neither
            raise UsageError(f"{model}: {what}, and no model's name or checkpoint (`models list`)")
        right = f"sapiens-stream images {quote(model or 'MODEL')} --input PHOTOS"
        raise UsageError(f"no --input, which says where the photos are: {right}")
    return MODEL if model is None else model, photos


def _is_folder(path: str | Path) -> bool:
    """Not where nobody may look: whoever opens it tells why."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises PermissionError before Python 3.14


def _is_photos(word: str) -> bool:
    """Whether a word can be nothing but photos: a folder without weights, a photo, a list, a glob, a video."""
    if _is_model(word):
        return False
    path = Path(word)
    if _is_folder(path):
        return not any(each.suffix in _MODEL_SUFFIXES for each in _entries(path))
    return _is_photo(path) or path.suffix.lower() == ".txt" or looks_like_video(path) or has_magic(word)


def _is_model(word: str) -> bool:
    from sapiens_stream.models.catalogue import KNOWN

    if word.partition(":")[0] in KNOWN:
        return not os.path.lexists(word)
    return Path(word).suffix.lower() in _MODEL_SUFFIXES and not _is_folder(word)


def _pattern(name: str) -> Pattern | None:
    from sapiens_stream.sources.pattern import parse_pattern

    return parse_pattern(name)


def _is_photo(path: Path) -> bool:
    from sapiens_stream.sources.kinds import is_photo

    return is_photo(path)


def _is_animated(path: Path) -> bool:
    """Whether it is a GIF, or a PNG or WebP of several pictures, which FFmpeg takes for a video."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    if head.startswith(b"GIF8"):
        return True
    return (b"acTL" in head and head.startswith(b"\x89PNG")) or (b"ANIM" in head and head.startswith(b"RIFF"))


def _is_live(name: str) -> bool:
    from sapiens_stream.sources.live.address import is_live

    return is_live(name)


def _folder_problem(folder: Path) -> str:
    commands = [videos_in(folder)]
    photos = sorted(str(path) for path in _entries(folder) if _is_photo(path))
    if photos:
        commands.append(f"sapiens-stream images --input {quote(str(folder))}")
    known = " and ".join(filter(None, commands))
    told = f"; what it holds takes {known}" if known else ", and holds no videos or photos"
    return f"{folder} is a folder{told}" + (_or_as_clip(Path(photos[0])) if photos else "")


def _or_as_clip(photo: Path) -> str:
    """What takes a numbered photo and its neighbours as one clip; empty where it has none."""
    from sapiens_stream.sources.pattern import pattern_around

    name = pattern_around(photo)
    return f"; numbered pictures as one clip: sapiens-stream video {quote(name)}" if name is not None else ""


def _entries(folder: Path) -> list[Path]:
    try:
        return list(islice(folder.iterdir(), _ENTRIES_READ))
    except OSError:
        return []
