"""Which photos a user means, and the names of their results."""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sapiens_stream.disk import folds_case
from sapiens_stream.errors import InputError, cause
from sapiens_stream.frame import Skipped
from sapiens_stream.home import absence
from sapiens_stream.sources.kinds import EXTENSIONS, KINDS_NOT_READ, is_photo, not_read

_LARGEST_LIST = 1 << 28  # bytes: some millions of paths


@dataclass(frozen=True, slots=True)
class Listed:
    """A photo's file and the stem of its results: its path below the input, without extension, "/" between folders."""

    path: Path
    name: str


def is_list(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def is_glob(what: str | Path) -> bool:
    """A pattern of "*", "?" and "[...]", unless there is something of exactly that name."""
    return glob.has_magic(str(what)) and not os.path.lexists(what)


Input = str | Path | Sequence[str | Path]
"""A folder, a `.txt` list, a glob or a single photo; or several photos."""


def named(what: Input) -> str:
    """What an input is called. Several photos are what a shell makes of a glob, and are called like that."""
    if isinstance(what, str | Path):
        return str(what)
    paths = list(map(_absolute, what))
    folder, here = _common(paths), Path.cwd()
    endings = {path.suffix for path in paths}
    ending = endings.pop() if len(endings) == 1 else ""
    return str((folder.relative_to(here) if folder.is_relative_to(here) else folder) / f"*{ending}")


def list_photos(what: Input, *, recursive: bool = False, exclude: Path | None = None) -> list[Listed | Skipped]:
    """The photos of a folder, a `.txt` list (a path a line), a glob, or those given; a folder's and a glob's sorted.

    A folder's sub-folders are listed if `recursive`; `exclude` is a folder below it that is left out with all it holds.
    A list's relative lines are sought from the list's folder, then from the working directory. What cannot become a
    result of its own (a missing file, a name that is taken, a kind that is not read) is a `Skipped` in its place; a
    companion in which macOS keeps what a disk has no place for (`._NAME`) is passed over.

    Raises InputError where there is no such input, or no photo in it.
    """
    if not isinstance(what, str | Path):
        return list(_each_its_results(_given(what), exclude))
    path = Path(what)
    if is_glob(what):
        found = _matching(str(what), exclude)
    elif is_folder(path):
        found = _in_folder(path, recursive, None if _is_within(path, exclude) else exclude)
    elif not path.exists():
        raise InputError(f"{what}: no such file or folder")
    elif is_list(path):
        found = _in_list(path)
    else:
        found = [Listed(path, path.stem)]
    return list(_each_its_results(found, exclude))


def is_folder(path: Path) -> bool:
    """Whether there is such a folder. Raises InputError where it is not told: for what can be no name, for instance."""
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {cause(error)}") from None


def _in_folder(folder: Path, recursive: bool, exclude: Path | None) -> list[Listed | Skipped]:
    unreadable: list[OSError] = []
    paths = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        # A folder called "x.jpg" is listed too: it is better reported than passed over.
        paths += [Path(parent, name) for name in (*files, *folders) if is_photo(Path(name)) and not _is_companion(name)]
        folders[:] = [name for name in folders if recursive and not _is_within(Path(parent, name), exclude)]
    if unreadable and not paths:
        raise InputError(f"{folder}: {cause(unreadable[0])}")
    if not paths:
        hint = "" if recursive else "; sub-folders are read with the option `recursive`"
        raise InputError(f"{folder}: no photos in this folder ({_extensions()}){hint}")
    skipped = [Skipped(str(error.filename), cause(error)) for error in unreadable]
    return [*_named(sorted(paths, key=lambda path: path.relative_to(folder).as_posix()), folder), *skipped]


def _matching(pattern: str, exclude: Path | None) -> list[Listed | Skipped]:
    fixed = Path()
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    matches = map(Path, sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207  # pathlib's takes no absolute ones
    paths = [
        path for path in matches if is_photo(path) and not _is_companion(path.name) and not _is_within(path, exclude)
    ]
    asked = (folder for folder in _listed_for(pattern) if not _is_within(folder, exclude))
    unlisted = [Skipped(str(folder), why) for folder in asked if (why := _refusal(folder)) is not None]
    if not paths:
        why = unlisted[0].reason if unlisted else f"matches no photos ({_extensions()})"
        raise InputError(f"{pattern}: {why}")
    return [*_named(paths, fixed), *unlisted]


def _listed_for(pattern: str) -> list[Path]:
    """The folders whose content a pattern asks for."""
    parts = Path(pattern).parts
    above = [parts[:place] for place, part in enumerate(parts) if glob.has_magic(part)]
    if parts[-1] == "**":
        above.append(parts)
    found = (glob.glob(os.path.join(*each, ""), recursive=True) if each else ["."] for each in above)  # noqa: PTH118, PTH207
    return sorted({Path(folder) for folders in found for folder in folders})


def _refusal(folder: Path) -> str | None:
    """Why a folder that is there does not tell what is in it, which `glob` takes for nothing."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return cause(error)
    return None


def _given(photos: Sequence[str | Path]) -> list[Listed | Skipped]:
    paths = list(map(_absolute, photos))
    if not any(map(os.path.lexists, paths)):
        raise InputError(f"{named(photos)}: none of the {len(paths)} photos is there")
    root = _common(paths)
    return [
        Listed(path, _stem(path, root)) if os.path.lexists(path) else Skipped(str(given), absence(path))
        for path, given in zip(paths, photos, strict=True)
    ]


def _absolute(path: str | Path) -> Path:
    """Without "..", too: no result may leave the output folder by its name."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _common(paths: Sequence[Path]) -> Path:
    """The folder that all of some absolute paths lie in."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def _in_list(path: Path) -> list[Listed | Skipped]:
    lines = list_lines(path)
    if not lines:
        raise InputError(f"{path}: the list is empty; it should hold the path of a photo a line")
    found = [_sought(line, path.parent) for line in lines if not _is_companion(os.path.basename(line))]  # noqa: PTH119
    photos = [each for each in found if isinstance(each, Path)]
    root = _common(photos) if photos else path.parent
    return [Listed(each, _stem(each, root)) if isinstance(each, Path) else each for each in found]


def list_lines(path: Path) -> list[str]:
    """Of a list's file, but for empty ones; in UTF-8 or, where its mark says so (Windows PowerShell), UTF-16.

    Bytes that are neither stay in the names as `os.fsdecode` has them. Raises InputError.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_LIST + 1)  # a pipe does not tell its size, nor a device that it has no end
    except OSError as error:
        raise InputError(f"{path}: {cause(error)}") from None
    if len(content) > _LARGEST_LIST:
        raise InputError(f"{path}: a list of more than {_LARGEST_LIST / 1e6:.0f} MB; is it a list?")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        text = os.fsdecode(content.removeprefix(codecs.BOM_UTF8))
    return [line.strip() for line in text.splitlines() if line.strip()]


def _sought(line: str, folder: Path) -> Path | Skipped:
    for base in (folder, Path()):
        # abspath, because it does away with ".." too: no result may leave the output folder by its name.
        path = Path(os.path.abspath(base / line))  # noqa: PTH100
        if os.path.isdir(path):  # noqa: PTH112  # "/" and "." have no name; pathlib's raises for names that are too long
            return Skipped(line, "it is a folder, not a photo")
        if os.path.lexists(path):
            return (
                Path("/", *path.parts[1:]) if path.root == "//" else path
            )  # which POSIX tells from "/", and nobody else
    return Skipped(line, absence(os.path.abspath(folder / line)))  # noqa: PTH100


def _named(paths: list[Path], root: Path) -> Iterator[Listed]:
    return (Listed(path, _stem(path, root)) for path in paths)


def _stem(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _each_its_results(found: list[Listed | Skipped], results: Path | None) -> Iterator[Listed | Skipped]:
    """Those whose results overwrite neither each other's nor, in the folder `results`, a photo; others `Skipped`."""
    taken: dict[str, Path] = {}
    alike: dict[str, Path] = {}
    folds: bool | None = None
    for each in found:
        if isinstance(each, Listed):
            kind = KINDS_NOT_READ.get(each.path.suffix.lower())
            if kind is not None:  # before it takes its name from a JPEG beside it
                yield Skipped(str(each.path), not_read(kind))
                continue
            if results and _real((results / each.name).parent) == _real(each.path.parent):
                yield Skipped(str(each.path), f"it lies where its results go, in {results}; choose another folder")
                continue
            first = taken.setdefault(each.name, each.path)
            why = ""
            # The class map of "a" is a_seg.npy, and so is the foreground mask of "a_seg".
            if first is each.path:
                first = taken.get(each.name + "_seg") or taken.get(each.name.removesuffix("_seg"), first)
            if first is each.path and results is not None:
                like = alike.setdefault(each.name.casefold(), each.path)
                if like is not each.path:  # so the disk is hardly ever asked
                    folds = folds_case(results) if folds is None else folds
                    if folds:
                        first, why = like, f", as the disk of {results} takes upper and lower case for the same"
            if first is not each.path:
                same = first == each.path
                reason = "it is listed already" if same else f"its results would overwrite those of {first.name}{why}"
                yield Skipped(str(each.path), reason)
                continue
        yield each


def _is_within(path: Path, folder: Path | None) -> bool:
    return folder is not None and _real(path).is_relative_to(_real(folder))


def _real(path: Path) -> Path:
    """With links resolved; a link that leads in a circle stays, where `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def _is_companion(name: str) -> bool:
    return name.startswith("._")


def _extensions() -> str:
    return " ".join(sorted(EXTENSIONS))
