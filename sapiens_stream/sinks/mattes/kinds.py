"""What mattes can be written as, a row each. Nothing heavy is imported, so that a command's help can list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sapiens_stream.settings import MATTE_FILE


@dataclass(frozen=True, kw_only=True)
class VideoKind:
    """A video with an alpha channel, or of the matte alone.

    `coloured` are FFmpeg's pixel formats of the picture with its matte, of 8 bits and for sources of more, "" where the
    kind is of the matte alone; `alone` those of the matte alone, of hard edges and of any. `bytes_per_pixel` is for the
    estimate before a run.
    """

    word: str
    help: str
    extension: str
    codec: str
    coloured: tuple[str, str]
    alone: tuple[str, str]
    options: Mapping[str, str] = field(default_factory=dict)
    bytes_per_pixel: float
    tag: str | None = None
    alpha_tags: Mapping[str, str] = field(default_factory=dict)
    """Of the stream, where it has an alpha channel."""


@dataclass(frozen=True, kw_only=True)
class SequenceKind:
    """Numbered pictures, a file a frame. Those of photos end in `ending`, after the photo's name."""

    word: str
    help: str
    extension: str
    ending: str
    bytes_per_pixel: float


VIDEOS = (
    VideoKind(
        word="prores4444",
        help="ProRes 4444, .mov",
        extension=".mov",
        codec="prores_ks",
        coloured=("yuva444p10le", "yuva444p10le"),
        alone=("yuv444p10le", "yuv444p10le"),
        options={"profile": "4444", "alpha_bits": "16", "vendor": "apl0"},
        bytes_per_pixel=1.5,
    ),
    VideoKind(
        word="qtrle",
        help="QuickTime Animation, exact, .mov",
        extension=".mov",
        codec="qtrle",
        coloured=("argb", "argb"),
        alone=("rgb24", "rgb24"),  # its grey is of widths alone that are a multiple of 4
        bytes_per_pixel=4.0,
    ),
    VideoKind(
        word="png",
        help="PNG in .mov, exact",
        extension=".mov",
        codec="png",
        coloured=("rgba", "rgba64be"),
        alone=("gray", "gray16be"),
        options={"pred": "up"},
        bytes_per_pixel=3.0,
    ),
    VideoKind(
        word="vp9",
        help="for browsers, .webm",
        extension=".webm",
        codec="libvpx-vp9",
        coloured=("yuva420p", "yuva420p"),
        alone=("yuv420p", "yuv420p"),
        options={"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "auto-alt-ref": "0", "crf": "24", "b": "0"},
        bytes_per_pixel=0.1,
        alpha_tags={"alpha_mode": "1"},
    ),
    VideoKind(
        word="ffv1",
        help="the matte alone, exact, .mkv",
        extension=".mkv",
        codec="ffv1",
        coloured=("", ""),
        alone=("gray", "gray16le"),
        options={"level": "3", "g": "1", "slicecrc": "1"},
        bytes_per_pixel=0.2,
    ),
)
SEQUENCES = (
    SequenceKind(
        word="png8", help="PNG files of 8 bits", extension=".png", ending=f"{MATTE_FILE}.png", bytes_per_pixel=2.5
    ),
    SequenceKind(
        word="png16",
        help="PNG files of 16 bits",
        extension=".png",
        ending=f"{MATTE_FILE}16.png",
        bytes_per_pixel=5.0,
    ),
    SequenceKind(
        word="exr",
        help="OpenEXR files in linear light",
        extension=".exr",
        ending=f"{MATTE_FILE}.exr",
        bytes_per_pixel=6.0,
    ),
)


def video_kind(word: str) -> VideoKind:
    return next(each for each in VIDEOS if each.word == word)


def sequence_kind(word: str) -> SequenceKind:
    return next(each for each in SEQUENCES if each.word == word)


def has_no_picture(word: str) -> bool:
    """Whether a kind is of the matte alone."""
    return any(each.word == word and not each.coloured[0] for each in VIDEOS)
