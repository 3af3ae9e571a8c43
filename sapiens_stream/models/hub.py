"""The Hugging Face hub: where a file is in its cache, and fetching it.

`huggingface_hub` finds and links files, and reads HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE. Its own download
begins anew after every failure, which for gigabytes over a poor line may never end, so that what has come is kept here,
in its cache, and the next attempt goes on from there.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream.disk import free_bytes
from sapiens_stream.errors import ModelError, OutputError, cause
from sapiens_stream.home import seen
from sapiens_stream.models.catalogue import HubFile
from sapiens_stream.models.hub_library import hub_library, locked
from sapiens_stream.redaction import redacted_text

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here, and those of the whole file if the hub says."""

_PARTIAL = ".sapiens-stream.incomplete"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_USER = re.compile(r"//.*@")  # in an address of no path with an @ in it


def find(file: HubFile) -> Path | None:
    """Where the file is in the hub's cache; None if it is not there. No network."""
    found = hub_library().try_to_load_from_cache(file.repository, file.file)
    return Path(found) if isinstance(found, str) else None


def fetched(file: HubFile) -> int:
    """The bytes that are here of a file whose download was interrupted; 0 if there is none."""
    return max((path.stat().st_size for path in _partials(file)), default=0)


def checksum(path: Path) -> str | None:
    """The sha256 that the hub has of a file in its cache; None for any other file."""
    # The cache's files are links to ones named by it, which may be links again to ones named otherwise.
    blob = path.readlink().name if path.is_symlink() else ""
    return blob if _SHA256.fullmatch(blob) else None


def sha256(path: Path) -> str:
    """Hexadecimal; about a second a gigabyte."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def amount(size: int) -> str:
    """Bytes, for people: 4.71 GB, 6.2 MB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def pull(
    file: HubFile,
    *,
    force: bool = False,
    progress: Progress = lambda _done, _total: None,
    waiting: Callable[[], None] = lambda: None,
) -> Path:
    """Fetches a file into the hub's cache, going on where an earlier attempt ended, and returns where it is.

    With `force` it is fetched although it is there. Where another program is fetching it, `waiting` is called, and that
    is waited for. What has come is compared with the hub's size and sha256.
    Raises ModelError, or OutputError if the disk is full, with the cause and what to do about it.
    """
    from huggingface_hub import hf_hub_download

    with _explained(file):
        blobs = _blobs(file)
        blobs.parents[1].mkdir(parents=True, exist_ok=True)  # the cache itself: with no place for it nothing is asked
        metadata = _look_up(file)
        blob = blobs / str(metadata.etag)
        lock = blob.parents[2] / ".locks" / blob.parents[1].name / f"{blob.name}.lock"  # that of huggingface_hub
        for folder in (blob.parent, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with locked(lock, waiting):
            if force or not _whole(blob, metadata.size):
                _download(file, metadata, blob, progress)
                _forget_copy(file, blob)
        return Path(hf_hub_download(file.repository, file.file))  # finds the blob, and links it


def _blobs(file: HubFile) -> Path:
    return Path(hub_library().constants.HF_HUB_CACHE) / f"models--{file.repository.replace('/', '--')}" / "blobs"


def _partials(file: HubFile) -> list[Path]:
    blobs = _blobs(file)
    return list(blobs.glob(f"*{_PARTIAL}")) if seen(blobs) else []


def _whole(blob: Path, size: int | None) -> bool:
    return blob.is_file() and size in (None, blob.stat().st_size)


def _look_up(file: HubFile) -> HfFileMetadata:
    """The file's size, checksum and commit, from the hub."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]

    try:
        metadata = get_hf_file_metadata(hf_hub_url(file.repository, file.file), library_name="sapiens-stream")
    except (HTTPError, OfflineModeIsEnabled):
        raise
    except Exception as error:  # of any kind: a proxy, certificates or a token with which no request can be made
        raise ModelError(_failure(file, cause(error))) from error
    if metadata.etag is None or metadata.commit_hash is None:
        raise ModelError(f"{_endpoint()} does not answer as the hub does; check HF_ENDPOINT, or the proxy")
    return metadata


def _download(file: HubFile, metadata: HfFileMetadata, blob: Path, progress: Progress) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    partial = blob.with_name(blob.name + _PARTIAL)
    size = metadata.size
    here = partial.stat().st_size if partial.exists() else 0
    if size is not None and here > size:
        partial.unlink()
        here = 0
    _require_space(blob.parent, (size or 0) - here)
    try:
        with partial.open("ab") as opened:
            http_get(
                hf_hub_url(file.repository, file.file),
                opened,
                resume_size=here,
                headers=build_hf_headers(library_name="sapiens-stream") | {"Accept-Encoding": "identity"},
                expected_size=size,
                tqdm_class=_bar(progress),
            )
    finally:
        if partial.exists() and not partial.stat().st_size:
            partial.unlink()
    if _SHA256.fullmatch(blob.name) and sha256(partial) != blob.name:
        partial.unlink()
        raise ModelError(f"{file.file} came damaged: its sha256 is not the hub's; fetch it again")
    partial.replace(blob)


def _forget_copy(file: HubFile, blob: Path) -> None:
    """Where the file system has no links the cache holds copies, which would hide the file that has just come."""
    copy = find(file)
    if copy is not None and not copy.samefile(blob):
        copy.unlink()


def _require_space(folder: Path, needed: int) -> None:
    free = free_bytes(folder)
    if free is not None and free < needed:
        raise OutputError(
            f"{amount(needed)} are still to come, and {amount(free)} are free in {folder};"
            " free some, or choose another place with HF_HOME"
        )


def _bar(progress: Progress) -> Any:
    """What huggingface_hub takes for a class of tqdm: it tells `progress` the bytes that are here."""

    class Bar:
        def __init__(self, *, initial: int = 0, total: int | None = None, **_: Any) -> None:
            self._done, self._total = initial, total
            progress(initial, total)

        def update(self, count: int) -> None:
            self._done += count
            progress(self._done, self._total)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    return Bar


@contextmanager
def _explained(file: HubFile) -> Iterator[None]:
    """Turns what huggingface_hub raises into our errors, and keeps its own log of retries from the terminal."""
    # Its HTTP library is httpx or httpx2, by its version; both have this error.
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]

    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    except OfflineModeIsEnabled:
        raise ModelError(f"{file.file} cannot be fetched in offline mode; unset HF_HUB_OFFLINE") from None
    except HfHubHTTPError as error:
        if error.response.status_code == 416:  # asked to go on behind the end of its file
            for path in _partials(file):
                path.unlink()
        raise ModelError(_refusal(file, error.response.status_code)) from error
    except HTTPError as error:
        raise ModelError(_failure(file, cause(error))) from error
    except OSError as error:
        if error.errno is None:  # not the system's, but huggingface_hub's, such as that of a size that is not as said
            raise ModelError(_failure(file, cause(error))) from error
        cure = f"{'free some space, or ' if error.errno == errno.ENOSPC else ''}choose another place with HF_HOME"
        raise OutputError(f"{_blobs(file)} cannot be written: {cause(error)}; {cure}") from error
    finally:
        log.setLevel(level)


def _refusal(file: HubFile, status: int) -> str:
    from huggingface_hub import get_token

    place = f"{_endpoint()}/{file.repository}"
    match status:
        case 401 | 403:
            token = "your token" if get_token() else "a request without a token"
            return (
                f"{place} refuses {token} ({status}): accept the model's terms there with your account,"
                " and set HF_TOKEN to a token of it"
            )
        case 404:
            return f"{place} has no {file.file} (404); check HF_ENDPOINT if you set it, or update sapiens-stream"
        case 416:
            return f"what was here of {file.file} did not fit the hub's, and was removed; fetch it again"
        case 429:
            return f"{_endpoint()} has had too many requests (429); wait some minutes, or set HF_TOKEN"
        case _:
            return f"{place} answers {status} for {file.file}; try again later{_resumption(file)}"


def _failure(file: HubFile, why: str) -> str:
    cure = "; check the network, and the proxy, certificates, HF_ENDPOINT and HF_TOKEN if you set them"
    return f"{file.file} cannot be fetched from {_endpoint()} ({redacted_text(why)}){_resumption(file) or cure}"


def _resumption(file: HubFile) -> str:
    here = fetched(file)
    return f"; {amount(here)} of it are here: fetch it again, and it goes on from there" if here else ""


def _endpoint() -> str:
    """Where the hub is, for people: a mirror's address may hold a password."""
    return redacted_text(_USER.sub("//", hub_library().constants.ENDPOINT))
