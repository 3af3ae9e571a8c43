"""The published models on this machine: which file of one is on disk, whether it is whole, and fetching it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.models import hub
from sapiens_stream.models.catalogue import Choice, HubFile, Published
from sapiens_stream.models.formats import recognise
from sapiens_stream.models.licences import needs_acceptance


@dataclass(frozen=True)
class OnDisk:
    """A file of a published model in the hub's cache; `name` is the one that asks for this very file."""

    name: str
    file: HubFile
    path: Path

    @property
    def damaged(self) -> bool:
        """Whether it is cut short, or no checkpoint at all. Reads a few bytes."""
        try:
            if recognise(self.path) == "safetensors":
                with safe_open(self.path, "np"):  # compares the file's length with what its header says
                    pass
        except (ModelError, SafetensorError):
            return True
        return False


def on_disk(model: Published) -> list[OnDisk]:
    """The model's files that are on disk, the preferred first. No network."""
    found = ((file, hub.find(file)) for file in model.files)
    return [OnDisk(_name(model, file), file, path) for file, path in found if path is not None]


def locate(choice: Choice) -> OnDisk | None:
    """The preferred of the chosen files that are on disk; None if none is. No network."""
    return next((each for each in on_disk(choice.model) if each.file in choice.files), None)


def require(choice: Choice) -> OnDisk:
    """What `locate` finds. Raises UsageError if that is nothing and ModelError if it is damaged, saying what to do."""
    here = locate(choice)
    if here is None:
        missing = f"{choice.name} is not on disk; fetch it: "
        command = f"sapiens-stream models pull {choice.name}"
        raise UsageError(
            f"{missing}pull=True, or once {command}", on_command_line=f"{missing}{command} (or give --pull)"
        )
    if here.damaged:
        raise ModelError(
            f"{here.name} is cut short or damaged ({here.path});"
            f" fetch it again: sapiens-stream models pull {here.name} --force"
        )
    return here


def fetch(
    choice: Choice,
    *,
    force: bool = False,
    progress: hub.Progress = lambda _done, _total: None,
    waiting: Callable[[], None] = lambda: None,
) -> OnDisk:
    """What `locate` finds if it is whole, or else the first of the chosen files, fetched from the hub.

    With `force` it is fetched although it is there. Raises UsageError while its licence has to be accepted, and what
    `hub.pull` does.
    """
    here = locate(choice)
    if here is not None and not force and not here.damaged:
        return here
    licence = choice.model.licence
    if needs_acceptance(licence):
        raise UsageError(
            f"{choice.name} is under the {licence.name} licence ({licence.url}), which has to be accepted once:"
            f" sapiens-stream models pull {choice.name} --accept-licence"
        )
    file = here.file if here is not None else choice.files[0]
    path = hub.pull(file, force=here is not None, progress=progress, waiting=waiting)
    return OnDisk(_name(choice.model, file), file, path)


def _name(model: Published, file: HubFile) -> str:
    return model.name if file == model.files[0] else f"{model.name}:{file.variant}"
