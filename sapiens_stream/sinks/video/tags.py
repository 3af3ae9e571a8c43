"""What is said about a video beside its pictures: title, dates, languages, chapters."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

if TYPE_CHECKING:
    from av.container.core import Chapter

# What the file that is written says for itself.
_OF_THE_CONTAINER = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "timecode"})
_OF_A_STREAM = ("language", "title", "creation_time")
# QuickTime numbers its languages, and FFmpeg knows those by the older of their two codes.
_OLDER_CODES = {
    "cym": "wel", "deu": "ger", "ell": "gre", "eus": "baq", "fre": "fra", "hye": "arm", "isl": "ice",
    "kat": "geo", "msa": "may", "mya": "bur", "nld": "dut", "sqi": "alb", "swe": "sve", "zho": "chi",
}  # fmt: skip
_USES = Disposition.default | Disposition.dub | Disposition.original | Disposition.comment | Disposition.forced
_USES |= Disposition.hearing_impaired | Disposition.visual_impaired


def readable(text: str) -> str:
    """A tag as text: what is not UTF-8 (read with "surrogateescape") is Western European, as in old files."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return text


def tag_container(output: OutputContainer, original: InputContainer) -> None:
    """The file's own tags; before anything is written to it."""
    for key, value in original.metadata.items():
        if key.lower() not in _OF_THE_CONTAINER:
            output.metadata[readable(key)] = readable(value)


def tag_stream(stream: Stream, original: Stream, extension: str) -> None:
    """A stream's language, title and use; before anything is written to its file, which has that extension."""
    known = {key.lower(): value for key, value in original.metadata.items()}
    if "name" in known:  # as FFmpeg reads what it writes of a title into mp4 and mov
        known.setdefault("title", known["name"])
    stream.metadata.update({key: readable(known[key]) for key in _OF_A_STREAM if key in known})
    if extension == ".mov" and (language := stream.metadata.get("language")):
        stream.metadata["language"] = _OLDER_CODES.get(language, language)
    stream.disposition = original.disposition & _USES


def tag_reel(pictures: Stream, original: InputContainer) -> None:
    """The reel by which editing programs find the camera's file again, beside its time code."""
    for stream in original.streams:  # mov and mp4 keep it in the track of the time code, MXF in that of the pictures
        known = {key.lower(): value for key, value in stream.metadata.items()}
        if stream.type in ("video", "data") and "reel_name" in known:
            pictures.metadata["reel_name"] = readable(known["reel_name"])
            return


def add_chapters(output: OutputContainer, original: InputContainer, shift: Fraction, end: Fraction | None) -> None:
    """The chapters, `shift` seconds later, up to `end`."""
    ticks = Fraction(1, av.time_base)
    chapters: list[Chapter] = []
    for each in original.chapters():
        time_base = each["time_base"] or ticks
        start, stop = each["start"] * time_base + shift, each["end"] * time_base + shift
        if end is not None:
            stop = min(stop, end)
        if stop > 0 and start < stop:
            chapters.append(
                {
                    "id": len(chapters) + 1,
                    "start": round(max(start, Fraction(0)) / ticks),
                    "end": round(stop / ticks),
                    "time_base": ticks,
                    "metadata": {readable(key): readable(value) for key, value in each["metadata"].items()},
                }
            )
    output.set_chapters(chapters)
