"""How well people are followed: ids that switch, of clips in which it is known whose each pixel is.

    python -m benchmarks.people_ids CLIP.mp4 ... [--model MODEL] [--frames N] [--people NAME]

`benchmarks.street` renders such clips, with CLIP.npz beside them. Of each person in each frame the map of people's that
overlaps most is theirs, if by a quarter at least (intersection over union). A switch is where they have another id than
they had last, unless they were out of sight for more than two seconds meanwhile. J is the mean IoU of the foreground.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from sapiens_stream import segment
from sapiens_stream.frame import Segmentation, UInt8Array

LEAST = 200
"""Pixels from which on somebody is in sight."""
SAME = 0.25
PATIENCE = Fraction(2)


@dataclass
class Following:
    """One clip, frame by frame."""

    switches: int = 0
    seconds: float = 0.0
    """Of all people together, in sight."""
    found: int = 0
    """Times that somebody in sight had a map, of `times`."""
    times: int = 0
    given: set[int] = field(default_factory=set)
    """Ids."""
    agreement: list[float] = field(default_factory=list)
    _last: dict[int, int] = field(default_factory=dict)
    _seen: dict[int, Fraction] = field(default_factory=dict)

    def see(self, result: Segmentation, exact: UInt8Array, step: Fraction) -> list[tuple[int, int, int]]:
        """The switches of a frame: who, the id before, and the id now."""
        now, own = result.frame.time or Fraction(0), result.person_map
        assert own is not None
        both, either = (result.class_map > 0) & (exact > 0), (result.class_map > 0) | (exact > 0)
        self.agreement.append(float(both.sum() / max(either.sum(), 1)))
        self.given.update(person.id for person in result.people or ())
        switched = []
        areas = np.bincount(exact.ravel(), minlength=256)
        for who in np.flatnonzero(areas[1:] >= LEAST) + 1:
            identity = _theirs(exact == who, own)
            if now - self._seen.get(who, now) > PATIENCE:
                self._last.pop(who, None)
            self._seen[who] = now
            self.seconds += float(step)
            self.times += 1
            if identity:
                self.found += 1
                before = self._last.get(who, identity)
                if before != identity:
                    switched.append((int(who), before, identity))
                self._last[who] = identity
        self.switches += len(switched)
        return switched


def _theirs(mask: npt.NDArray[np.bool_], own: npt.NDArray[np.uint16]) -> int:
    """The id whose pixels overlap most with a mask, 0 if by too little."""
    ids, counts = np.unique(own[mask], return_counts=True)
    areas = np.bincount(own.ravel(), minlength=int(ids.max(initial=0)) + 1)
    shares = [
        (count / (mask.sum() + areas[identity] - count), int(identity))
        for identity, count in zip(ids, counts, strict=True)
        if identity
    ]
    share, identity = max(shares, default=(0.0, 0))
    return identity if share >= SAME else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--people", default="builtin")
    parser.add_argument("--frames", type=int, default=750, help="of each clip, from its beginning")
    parser.add_argument("--tell", action="store_true", help="each switch")
    given = parser.parse_args()
    table = Table("clip", "minutes of people", "switches", "a minute", "ids", "found", "J", "CPU ms a frame")
    for path in given.clips:
        exact, start = np.load(path.with_suffix(".npz"))["ids"], time.process_time()
        following, step = Following(), Fraction(1, 25)
        results = segment(path, model=given.model, device="cpu", people=given.people)
        for index, result in enumerate(islice(results, given.frames)):
            for who, before, now in following.see(result, exact[index], step):
                if given.tell:
                    print(f"{path.stem} {index}: {who} was {before}, is {now}", flush=True)
        minutes, spent = following.seconds / 60, 1000 * (time.process_time() - start)
        table.add_row(
            path.stem,
            f"{minutes:.1f}",
            str(following.switches),
            f"{following.switches / max(minutes, 1e-9):.2f}",
            f"{len(following.given)} of {len(np.unique(exact[: len(following.agreement)])) - 1}",
            f"{following.found / max(following.times, 1):.3f}",
            f"{np.mean(following.agreement):.4f}",
            f"{spent / max(len(following.agreement), 1):.0f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
