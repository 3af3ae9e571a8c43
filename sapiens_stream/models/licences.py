"""The licences of the published weights, and which of them this user has accepted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sapiens_stream.errors import OutputError, cause
from sapiens_stream.models.hub_library import hub_library


@dataclass(frozen=True, kw_only=True)
class Licence:
    """What may be done with weights; `restricts_use` means that it has to be accepted before they are fetched."""

    name: str
    terms: str
    """In a sentence; what holds is the text at `url`."""
    url: str
    restricts_use: bool = False


APACHE = Licence(name="Apache-2.0", terms="Free for any use.", url="https://www.apache.org/licenses/LICENSE-2.0")
CC_BY_NC = Licence(
    name="CC-BY-NC 4.0",
    terms="Not for commercial use; name the authors (Meta) where you share what you made with it.",
    url="https://creativecommons.org/licenses/by-nc/4.0/",
)
SAPIENS2_LICENCE = Licence(
    name="Sapiens2",
    terms="Commercial use is allowed; surveillance and biometric processing are not, among other uses it lists.",
    url="https://github.com/facebookresearch/sapiens2/blob/main/LICENSE.md",
    restricts_use=True,
)


def needs_acceptance(licence: Licence) -> bool:
    """Whether this user still has to accept the licence."""
    return licence.restricts_use and licence.name not in _accepted()


def accept(licence: Licence) -> None:
    """Remembers, beside the hub's cache, that this user has accepted the licence. Raises OutputError."""
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"accepted": sorted({*_accepted(), licence.name})}))
    except OSError as error:
        raise OutputError(f"{file}, where accepted licences are kept, cannot be written: {cause(error)}") from error


def _accepted() -> set[str]:
    try:
        return set(json.loads(_file().read_text())["accepted"])
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def _file() -> Path:
    return Path(hub_library().constants.HF_HOME) / "sapiens-stream" / "licences.json"
