"""What stands at the beginning of a label video or person video: size, codec, classes, and what it was made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction

from sapiens_stream.classes import ClassSet
from sapiens_stream.containers import ebml
from sapiens_stream.containers import map_video as tags
from sapiens_stream.containers.frame_index import OWN_LAYOUT

_SPARE = 512  # for what is not known yet: the fingerprint
_ROUND = 1024
_FULL_RANGE = 2
_SEEK_BYTES = 26
_DURATION_BYTES = 11


@dataclass(frozen=True, kw_only=True)
class LabelHead:
    """As bytes it is always of the same length, so that it is written again over itself once all is known."""

    size: tuple[int, int]
    private: bytes
    """FFV1's own header."""
    frame_duration: int
    """Nanoseconds."""
    classes: ClassSet | None
    """None of what holds no classes but `content`."""
    content: str = ""
    model: str
    time_base: Fraction
    shift: Fraction
    sample_aspect_ratio: Fraction | None = None

    def as_bytes(self, *, fingerprint: str = "", end: int | None = None, cues: int = 0, duration: int = 0) -> bytes:
        """`end` is the length of the whole file, `cues` where they begin; not known while it grows."""
        lead = self._lead()
        begin = len(lead) + len(ebml.segment_start())
        total = _round_up(begin + len(self._parts("", 0, 0)) + _SPARE)
        parts = self._parts(fingerprint, cues - begin if cues else 0, duration)
        segment = ebml.segment_start() if end is None else ebml.segment_start(end - begin)
        return lead + segment + parts + ebml.void(total - begin - len(parts))

    @property
    def begin(self) -> int:
        """Where the segment's content begins, from which places are counted."""
        return len(self._lead()) + len(ebml.segment_start())

    def _lead(self) -> bytes:
        return ebml.master(
            ebml.EBML,
            ebml.text(ebml.DOC_TYPE, "matroska"),
            ebml.number(ebml.DOC_TYPE_VERSION, 4),
            ebml.number(ebml.DOC_TYPE_READ_VERSION, 2),
        )

    def _parts(self, fingerprint: str, cues: int, duration: int) -> bytes:
        return b"".join((self._places(cues), self._info(duration), self._tracks(), self._tags(fingerprint)))

    def _places(self, cues: int) -> bytes:
        if not cues:
            return ebml.void(_SEEK_BYTES)
        which = ebml.element(ebml.SEEK_ID, ebml.CUES.to_bytes(4))
        return ebml.master(ebml.SEEK_HEAD, ebml.master(ebml.SEEK, which, ebml.number(ebml.SEEK_POSITION, cues)))

    def _info(self, duration: int) -> bytes:
        return ebml.master(
            ebml.INFO,
            ebml.number(ebml.TIMESTAMP_SCALE, 1),
            ebml.real(ebml.DURATION, duration) if duration else ebml.void(_DURATION_BYTES),
            ebml.text(ebml.MUXING_APP, OWN_LAYOUT),
            ebml.text(ebml.WRITING_APP, "sapiens-stream"),
        )

    def _tracks(self) -> bytes:
        height, width = self.size
        shape = [ebml.number(ebml.PIXEL_WIDTH, width), ebml.number(ebml.PIXEL_HEIGHT, height)]
        if self.sample_aspect_ratio not in (None, 0, 1):
            assert self.sample_aspect_ratio is not None
            shape += [
                ebml.number(ebml.DISPLAY_WIDTH, max(1, round(width * self.sample_aspect_ratio))),
                ebml.number(ebml.DISPLAY_HEIGHT, height),
            ]
        shape.append(ebml.master(ebml.COLOUR, ebml.number(ebml.RANGE, _FULL_RANGE)))
        track = ebml.master(
            ebml.TRACK,
            ebml.number(ebml.TRACK_NUMBER, 1),
            ebml.number(ebml.TRACK_UID, 1),
            ebml.number(ebml.TRACK_TYPE, 1),
            ebml.number(ebml.LACING, 0),
            ebml.text(ebml.LANGUAGE, "und"),
            ebml.number(ebml.DEFAULT_DURATION, self.frame_duration),
            ebml.text(ebml.CODEC_ID, "V_FFV1"),
            ebml.master(ebml.VIDEO, *shape),  # first: checkers read FFV1's header as they come to it, by the size
            ebml.element(ebml.CODEC_PRIVATE, self.private),
        )
        return ebml.master(ebml.TRACKS, track)

    def tags(self) -> dict[str, str]:
        """What it was made of, but for the fingerprint."""
        texts = {tags.MODEL: self.model, tags.CONTENT: self.content}
        if self.classes is not None:
            texts |= {
                tags.CLASS_SET: self.classes.title,
                tags.CLASSES: json.dumps(self.classes.names),
                tags.COLOURS: json.dumps(self.classes.hex_colours),
            }
        texts |= {tags.TIME_BASE: str(self.time_base), tags.SHIFT: str(self.shift)}
        return {name: text for name, text in texts.items() if text}

    def _tags(self, fingerprint: str) -> bytes:
        texts = {**self.tags(), **({tags.FINGERPRINT: fingerprint} if fingerprint else {})}
        simple = [
            ebml.master(ebml.SIMPLE_TAG, ebml.text(ebml.TAG_NAME, name), ebml.text(ebml.TAG_STRING, value))
            for name, value in texts.items()
        ]
        return ebml.master(ebml.TAGS, ebml.master(ebml.TAG, ebml.master(ebml.TARGETS), *simple))


def _round_up(size: int) -> int:
    return -(-size // _ROUND) * _ROUND
