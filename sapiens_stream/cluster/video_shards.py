"""Which of many videos are a shard's."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from sapiens_stream.cluster.shards import Shard
from sapiens_stream.errors import InputError
from sapiens_stream.pipeline.input_list import Asked
from sapiens_stream.sources.probe import Probe, probe_all, size_of
from sapiens_stream.sources.video_input import parse_video, printable

MOST_PROBED = 2000
"""Videos whose headers are read for their lengths; of more, each shard would read for minutes: sizes will do."""

_MILLISECONDS = 1000


class Split:
    """Of videos between shards, by their lengths, and the names that their results will have.

    Those whose results have the same name go together, so that one shard alone has to tell of them.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self._named: dict[str, list[str]] = {}
        for each in sorted(inputs):  # in no shell's order, and no locale's
            self._named.setdefault(result_name(each), []).append(each)
        first = [each[0] for each in self._named.values()]
        few = len(first) <= MOST_PROBED
        probes = probe_all(first) if few else [Probe(bytes=size_of(each)) for each in first]
        self._weights = dict(zip(self._named, _weights(probes), strict=True))
        self.asked = [
            Asked(name, printable(whole), each.frames)
            for name, whole, each in zip(self._named, first, probes, strict=True)
        ]
        """All of them, for the list."""

    def share_of(self, shard: Shard) -> list[str]:
        """The videos of a shard, sorted."""
        mine = shard.of(self._weights)
        return [each for name, group in self._named.items() if name in mine for each in group]


def result_name(what: str) -> str:
    """What the results of a video are called; wherever it lies, on whatever machine."""
    try:
        return parse_video(what).stem
    except InputError:
        return printable(what)


def _weights(probes: Sequence[Probe]) -> list[int]:
    """How much work each is, next to the others: milliseconds, where lengths are known.

    Those without one are taken for as long as others of their size, or, without a size, for the average.
    """
    both = [(each.seconds, each.bytes) for each in probes if each.seconds and each.bytes]
    a_byte = sum((seconds for seconds, _ in both), Fraction(0)) / sum(size for _, size in both) if both else Fraction(1)
    known = [each.seconds or (each.bytes * a_byte if each.bytes else None) for each in probes]
    sure = [each for each in known if each is not None]
    usual = sum(sure, Fraction(0)) / len(sure) if sure else Fraction(1)
    return [max(1, round((each if each is not None else usual) * _MILLISECONDS)) for each in known]
