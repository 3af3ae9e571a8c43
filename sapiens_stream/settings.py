"""Every default, literal and file name that is part of the contract, once. Nothing heavy is imported here.

What a command offers, what `Outputs`, `Result` and `Segmenter` take by default, and what a reader of the
results may rely on. How a model is run has its defaults in `inference.options`.
"""

from __future__ import annotations

import re
from numbers import Integral, Real
from typing import Literal

# What there is to choose from. The words of --save and --overlay are in the table of outputs, `sinks.registry`.
Regions = Literal["polygons", "rle", "none"]
PictureFormat = Literal["png", "jpg", "bmp"]
Audio = Literal["all", "first", "none"]
ColourBy = Literal["class", "person"]
Edge = Literal["hard", "soft", "refined"]
Reconnect = Literal["forever", "no"] | int

# What is taken unless something else is asked for.
MODEL = "builtin"
OVERLAY = "video"
SAVE = "classes,json"
SAVE_OF_PHOTOS = "classes,foreground,json"
SAVE_OF_LIVE = "none"
OPACITY = 0.5
COLOUR_BY: ColourBy = "class"
REGIONS: Regions = "polygons"
TITLE = "result"
PICTURE_FORMAT: PictureFormat = "png"
CODEC = "libx264"
PRESET = "veryfast"
LIVE_PRESET = "superfast"
AUDIO: Audio = "all"
MATTE = "none"
FOREGROUND = "foreground"
"""All classes but the background, where classes are named."""
EDGE: Edge = "refined"
CRYPTOMATTE_RANKS = 7
"""Classes of a place whose probabilities it takes: six, and the background, which is left out."""
RECONNECT: Reconnect = "forever"
PHOTO_WORKERS = 4
"""Threads that decode photos, and that write what comes of them."""
WRITE_WORKERS = 2
"""Threads that write what comes of a video."""
BATCH_OF_PHOTOS = 4
WEB_HOST, WEB_PORT = "127.0.0.1", 8000
OUTPUT_FOLDER = "output"

MAX_PIXELS = 200_000_000
"""Of a picture. More than any camera's: files are untrusted, and 31 KB of PNG can ask for gigabytes."""
USUAL_PIXELS = 4096 * 2304
"""Of a picture, as films of 4K have them. Of larger ones fewer are held at a time than there could be."""

MOST_PEOPLE = 64
"""Of a frame, that are looked at one by one and told apart; the largest."""

# What the names of files end in, after the clip's or the frame's.
OVERLAY_FILE = "_overlay"
"""Of an overlay video; the codec's container follows."""
CLASS_MAP_FILE = "_seg.npy"
FOREGROUND_FILE = ".npy"
JSON_FILE = ".json"
LABEL_VIDEO_FILE = "_labels.mkv"
PERSON_MAP_FILE = "_people.npy"
PERSON_VIDEO_FILE = "_people.mkv"
JSON_LINES_FILE = ".jsonl"
STATISTICS_CSV_FILE = "_statistics.csv"
STATISTICS_PARQUET_FILE = "_statistics.parquet"
MATTE_FILE = "_matte"
"""Of a matte; the ending of its kind follows."""
CRYPTOMATTE_FILE = "_cryptomatte.exr"
CONTACT_SHEET_FILE = "_sheet.png"
RUN_FILE = "_run.json"
FRAME_FACTS_FILE = "_frames.jsonl"
INPUTS_FILE = "_inputs.json"
"""Of the list of all that several processes were asked for."""
BATCH_FILE = "run.jsonl"
"""Of a batch, whole: a line an input."""

FRAME_SCHEMA = "sapiens-stream/1"
RUN_SCHEMA = "sapiens-stream-run/1"
INPUTS_SCHEMA = "sapiens-stream-inputs/1"
BATCH_SCHEMA = "sapiens-stream-batch/1"
LOG_SCHEMA = "sapiens-stream-log/1"

MOST_FRAMES = 1_000_000
"""Of a clip or a live run, that have names of one length."""

STALL_TIMEOUT = 60.0
"""Seconds after which what does not move is given up."""

MOST_STEADY = 2
"""Frames before and after one that may have a say in its class map."""
MOST_EVERY = 30
"""Frames of which one at least is inferred; as many wait for it."""


def frame_name(stem: str, index: int) -> str:
    """What the files of a frame are called, below the folder of the results, without their endings."""
    return f"{stem}/{index:06d}"


def picture_name(index: int) -> str:
    """The same of a picture that has no name of its own."""
    return f"image_{index:06d}"


def shard_label(number: int, count: int) -> str:
    """What the names of a shard's own files end in, before what they are."""
    return f"shard_{number}_of_{count}"


def is_of_shard(stem: str) -> bool:
    """Whether a run with files of that name took its share of the photos alone."""
    return re.search(r"_shard_\d+_of_\d+$", stem) is not None


def is_number(value: object) -> bool:
    """Whether it may be compared with numbers, NumPy's too; False and True may not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def unclear_flag(**flags: object) -> str | None:
    """What to say of one that is not True or False, nor 1 or 0; None where each is. A text is not: "no" would be yes.

    >>> unclear_flag(trust="no")
    "trust is 'no'; it is True or False"
    """
    unclear = (name for name, value in flags.items() if isinstance(value, str) or value not in (True, False))
    return next((f"{name} is {flags[name]!r}; it is True or False" for name in unclear), None)


def as_int(value: object) -> object:
    """A whole number of NumPy's as Python's, which a record holds; anything else stays what it is."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value
