"""The head of a Matroska file (RFC 9559): its clock, its video track and its tags."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction

from sapiens_stream.containers import ebml
from sapiens_stream.containers.elements import ElementFile, Header, is_number
from sapiens_stream.errors import InputError

_LARGEST_HEAD = 1 << 20  # bytes of an element that is read as a whole; a damaged file must not take all memory


@dataclass(kw_only=True)
class Layout:
    """What stands before the first cluster. `content` is where the segment's content begins, `end` where it ends."""

    content: int
    end: int
    first_cluster: int
    scale: int = 1_000_000
    muxing_app: str = ""
    track: int = 1
    codec: str = ""
    private: bytes = b""
    size: tuple[int, int] = (0, 0)
    frame_duration: int | None = None
    duration: float = 0.0
    """Ticks; 0 where it is not known."""
    cues: int | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def tick(self) -> Fraction:
        """Seconds."""
        return Fraction(self.scale, ebml.SECOND)


def read_layout(file: ElementFile) -> Layout:
    """The head of a file. Raises InputError, nameless, where it is no Matroska file or its head is damaged."""
    try:
        head = file.header(0)
    except InputError:
        if not file.size:
            raise
        raise InputError("it is not a Matroska file (.mkv)") from None
    if head.number != ebml.EBML or head.end is None:
        raise InputError("it is not a Matroska file (.mkv)")
    segment = file.header(head.end)
    if segment.number != ebml.SEGMENT:
        raise InputError("it is not a Matroska file (.mkv)")
    # A growing file, or one cut short, says nothing of its end, or too much.
    end = file.size if segment.end is None else min(segment.end, file.size)
    layout = Layout(content=segment.content, end=end, first_cluster=end)
    at = segment.content
    try:
        while at < end:
            child = file.header(at)
            if child.number == ebml.CLUSTER:
                layout.first_cluster = at
                break
            if child.end is None or child.end > end:
                raise InputError("the file is cut short")
            _take(file, layout, child)
            at = child.end
    except InputError:
        if not layout.codec:
            raise
    if layout.cues is not None:
        _take_late_tags(file, layout)
    return layout


def _take(file: ElementFile, layout: Layout, part: Header) -> None:
    assert part.end is not None
    if part.number in (ebml.INFO, ebml.TRACKS, ebml.TAGS, ebml.SEEK_HEAD) and part.end - part.content > _LARGEST_HEAD:
        raise InputError(f"its head takes {part.end - part.content} bytes")
    if part.number == ebml.INFO:
        for child in file.within(part):
            if child.number == ebml.TIMESTAMP_SCALE:
                layout.scale = max(1, file.number(child))
            elif child.number == ebml.DURATION and child.end == child.content + 8:
                layout.duration = struct.unpack(">d", file.content(child))[0]
            elif child.number == ebml.MUXING_APP:
                layout.muxing_app = file.text(child)
    elif part.number == ebml.TRACKS:
        _take_track(file, layout, part)
    elif part.number == ebml.TAGS:
        _take_tags(file, layout, part)
    elif part.number == ebml.SEEK_HEAD:
        _take_places(file, layout, part)
    elif part.number == ebml.CUES:
        layout.cues = part.at


def _take_track(file: ElementFile, layout: Layout, tracks: Header) -> None:
    for track in file.within(tracks):
        if track.number != ebml.TRACK:
            continue
        found = {child.number: child for child in file.within(track)}
        if ebml.TRACK_TYPE not in found or file.number(found[ebml.TRACK_TYPE]) != 1 or ebml.VIDEO not in found:
            continue
        video = {child.number: file.number(child) for child in file.within(found[ebml.VIDEO]) if is_number(child)}
        layout.size = (video.get(ebml.PIXEL_HEIGHT, 0), video.get(ebml.PIXEL_WIDTH, 0))
        layout.track = file.number(found[ebml.TRACK_NUMBER]) if ebml.TRACK_NUMBER in found else 1
        layout.codec = file.text(found[ebml.CODEC_ID]) if ebml.CODEC_ID in found else ""
        if ebml.CODEC_PRIVATE in found:
            layout.private = file.content(found[ebml.CODEC_PRIVATE])
        if ebml.DEFAULT_DURATION in found:
            layout.frame_duration = file.number(found[ebml.DEFAULT_DURATION])
        return


def _take_tags(file: ElementFile, layout: Layout, tags: Header) -> None:
    for tag in file.within(tags):
        for child in file.within(tag) if tag.number == ebml.TAG else ():
            if child.number == ebml.SIMPLE_TAG:
                found = {each.number: each for each in file.within(child)}
                if ebml.TAG_NAME in found and ebml.TAG_STRING in found:
                    layout.tags.setdefault(file.text(found[ebml.TAG_NAME]).upper(), file.text(found[ebml.TAG_STRING]))


def _take_places(file: ElementFile, layout: Layout, seek_head: Header) -> None:
    for seek in file.within(seek_head):
        found = {child.number: child for child in file.within(seek)} if seek.number == ebml.SEEK else {}
        if ebml.SEEK_ID in found and ebml.SEEK_POSITION in found and file.number(found[ebml.SEEK_ID]) == ebml.CUES:
            layout.cues = layout.content + file.number(found[ebml.SEEK_POSITION])


def _take_late_tags(file: ElementFile, layout: Layout) -> None:
    """FFmpeg puts them behind the cues."""
    assert layout.cues is not None
    if layout.tags or not layout.first_cluster < layout.cues < layout.end:
        return
    try:
        for part in file.children(layout.cues, layout.end):
            if part.number == ebml.TAGS:
                _take(file, layout, part)
    except InputError:
        return  # they are there for the names of the classes alone
