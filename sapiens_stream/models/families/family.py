"""What a family of models is: how to tell its checkpoints, how to run them, and what their files do not say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sapiens_stream.classes import ClassSet
from sapiens_stream.models.licences import Licence
from sapiens_stream.models.normalisation import Normalisation
from sapiens_stream.models.options import ModelOptions

if TYPE_CHECKING:  # torch takes seconds to load, and a family is listed without it
    from sapiens_stream.models.checkpoint import Checkpoint
    from sapiens_stream.models.model import Network


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
    tflop: float | None
    """What one frame costs, head and attention included; None where it is not known."""
    licence: Licence
    files: tuple[HubFile, ...]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A row of the registry.

    Args:
        name: in a word.
        run_by: what runs its networks, for people.
        recognise: whether a checkpoint is of the family, by its content and without running it. Raises ModelError for a
            damaged file.
        open: the checkpoint's network. Raises ModelError and UsageError.
        own_graph: whether it is the graph in the file that is run.
        classes: of its networks; one channel of logits tells two of them apart. None: not known.
        normalisation: what its networks take. None: not known.
        probability: from which a pixel is foreground, where there is one channel of logits.
        fits: whether an open network is what `recognise` took it for; else nothing is known of it.
        licence: of its weights, where their publisher's is the only one.
        published: its models on the hub.
    """

    name: str
    run_by: str
    recognise: Callable[[Checkpoint], bool]
    open: Callable[[Checkpoint, ModelOptions], Network]
    own_graph: bool = False
    classes: ClassSet | None = None
    normalisation: Normalisation | None = None
    probability: float = 0.5
    fits: Callable[[Network], bool] = lambda network: True
    licence: Licence | None = None
    published: tuple[Published, ...] = ()

    @property
    def channels(self) -> int | None:
        """Of the logits that its classes are told apart by."""
        return None if self.classes is None else 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def threshold(self) -> float:
        """The logit above which the pixel of a network of one channel is foreground: log(p / (1 - p))."""
        return math.log(self.probability / (1 - self.probability))

    def tflop(self, parameters: int) -> float | None:
        """What a frame costs a network of about as many parameters as a published one has."""
        alike = (each for each in self.published if abs(each.parameters - parameters) < each.parameters / 4)
        return next((each.tflop for each in alike), None)
