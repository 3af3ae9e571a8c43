"""How a model is opened and run, in one value. Nothing heavy is imported here, so that commands can be declared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from sapiens_stream.errors import UsageError
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.settings import FOREGROUND, as_int, unclear_flag

BatchSize = int | Literal["auto"]
Fit = Literal["stretch", "letterbox", "crop"]
"""stretch: the whole picture to the input's size, as the original does; letterbox: the whole picture in its own aspect,
the rest in the mean colour; crop: the largest centred part of the input's aspect."""

People = Literal["off", "auto", "builtin", "ssdlite320", "fasterrcnn-mobile", "fasterrcnn-resnet50"]
"""Whether the model looks again at each person from nearer, and what finds them: the built-in model's own map, or one
of torchvision's detectors; "auto": the former, unless the first frames of a clip show one large person alone."""

Fallback = Literal["none", "cpu"]
"""What goes on where all devices are lost."""
MOST_RANKS = 8
"""Classes of a cell whose probabilities are kept; the others have next to none."""


@dataclass(frozen=True, kw_only=True)
class InferenceOptions(ModelOptions):
    """What a Segmenter is called with besides the model.

    Args:
        device: "auto", "cpu", "cuda", "cuda:N", "cuda:all", "mps", or several ("cuda:0,cuda:1").
        precision: "auto", "fp32", "fp16" or "bf16".
        batch_size: pictures that are computed at once; None takes 1 on the CPU, 8 elsewhere, "auto" tries which is
            fastest.
        fit: "stretch", "letterbox" or "crop".
        compile: have torch compile the network, which can take minutes and is kept for later runs.
        people: "builtin" has the model look again at each person from nearer, where the built-in model sees one;
            "ssdlite320", "fasterrcnn-mobile" or "fasterrcnn-resnet50", where that detector of torchvision's does;
            "auto": as "builtin", unless a clip begins with one large person, who then has no id; "off".
        boxes: a file with the boxes of the people to look at, COCO's JSON or a frame a line, in place of `people`.
        fallback: "cpu" goes on there where all devices are lost; "none" fails.
        alpha_of: classes, by name or id, whose summed probability comes with each result as its `alpha`; "foreground":
            all but the background; None: that costs nothing.
        ranks: as many of the likeliest classes of each place come with each result as `ranked`, up to 8.

    Those of ModelOptions, which say how the model is opened, matter where it is not open yet.

    Raises:
        UsageError: for a value that cannot be on any machine; what this one has is for an Engine to say.

    >>> InferenceOptions(device="cuda:all", precision="fp16", fit="letterbox")
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: BatchSize | None = None
    fit: Fit = "stretch"
    compile: bool = False
    people: People = "off"
    boxes: str | os.PathLike[str] | None = None
    fallback: Fallback = "none"
    alpha_of: str | Sequence[str | int] | None = None
    ranks: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if unclear := unclear_flag(compile=self.compile):
            raise UsageError(unclear)
        for name in ("device", "precision"):  # a torch.device goes by its name; what is none is named where it is used
            object.__setattr__(self, name, str(getattr(self, name)))
        for name in ("batch_size", "ranks"):
            object.__setattr__(self, name, as_int(getattr(self, name)))
        if self.batch_size not in (None, "auto") and (type(self.batch_size) is not int or self.batch_size < 1):
            raise UsageError(f"a batch size of {self.batch_size!r}; it is 1 or more, or auto")
        if self.fit not in get_args(Fit):
            raise UsageError(f"no fit is called {self.fit!r}; there are {', '.join(get_args(Fit))}")
        if self.people not in get_args(People):
            raise UsageError(f"people is {self.people!r}; there are {', '.join(get_args(People))}")
        if self.fallback not in get_args(Fallback):
            raise UsageError(f"fallback is {self.fallback!r}; it is {' or '.join(get_args(Fallback))}")
        if self.boxes is not None and not isinstance(self.boxes, (str, os.PathLike)):
            raise UsageError(f"boxes is {self.boxes!r}; it is the path of a file")
        if self.boxes is not None and self.people != "off":
            raise UsageError(
                f"people is {self.people!r} and boxes {str(self.boxes)!r}; one of them says where people are"
            )
        if isinstance(self.alpha_of, str) and self.alpha_of != FOREGROUND:
            raise UsageError(f"alpha_of is {self.alpha_of!r}; it is {FOREGROUND!r}, or a list of classes")
        if self.alpha_of is not None and not isinstance(self.alpha_of, Iterable):
            raise UsageError(f"alpha_of is {self.alpha_of!r}; it is {FOREGROUND!r}, or a list of classes")
        if self.alpha_of is not None and not isinstance(self.alpha_of, str):
            object.__setattr__(self, "alpha_of", tuple(self.alpha_of))
        if type(self.ranks) is not int or not 0 <= self.ranks <= MOST_RANKS:
            raise UsageError(f"ranks is {self.ranks!r}; it is a number of classes, 0 to {MOST_RANKS}")

    @property
    def looks_for_people(self) -> bool:
        """Whether results tell people apart."""
        return self.people != "off" or self.boxes is not None

    def once_open(self) -> Self:
        """The same for a model that was opened with them, and is as it is."""
        as_usual: dict[str, Any] = {each.name: each.default for each in fields(ModelOptions)}
        return replace(self, **as_usual)
