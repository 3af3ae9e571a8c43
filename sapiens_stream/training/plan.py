"""The settings of a run of training: where its data lies, how long and how hard it trains."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from sapiens_stream.training.compose import Shares

SHARES = {
    "photos": "pictures that are pieces of photographs",
    "rows": "difficult composites with people side by side",
    "moments": "pictures that come in twos, a moment apart, of people rendered so",
    "photographed": "people in composites who are cut out of photographs",
}
"""What each of `Shares` is of."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: where its data lies, and how long and hard it trains."""

    cutouts: tuple[Path, ...]
    backgrounds: tuple[Path, ...]
    photos: tuple[Path, Path] | None = None
    out: Path
    peers: tuple[Path, ...] = ()
    start: Path | None
    seconds: float
    sides: tuple[int, int]
    batch: int
    rate: float
    mixed: bool
    steady: bool = False
    levels: tuple[float, float]
    workers: int
    seed: int
    device: str = "cpu"
    shares: Shares = field(default_factory=Shares)
    echo: int = 0
    agree: float = 0.0
    joints: float = 0.2
    average: float = 0.99
    said_seconds: float = 60.0
    saved_seconds: float = 60.0
    evaluated_seconds: float = 600.0


def read_plan(description: str | None) -> Plan:
    """From the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutouts", type=Path, nargs="+", required=True, help="folders that render.py filled")
    parser.add_argument(
        "--backgrounds", type=Path, nargs="+", required=True, help="folders of photographs without people"
    )
    parser.add_argument(
        "--photos",
        type=Path,
        nargs=2,
        metavar=("FOLDER", "TARGETS"),
        help="photographs with clothing labels, and what `photos` prepared of them: beside the renders",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="checkpoint.pt and weights.safetensors; resumed if there"
    )
    parser.add_argument(
        "--peers",
        type=Path,
        nargs="+",
        default=[],
        help="other runs' --out, trained at the same time: weights are shared",
    )
    parser.add_argument(
        "--start", type=Path, help="weights.safetensors to go on from (ImageNet's encoder if not given)"
    )
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument(
        "--sides",
        type=int,
        nargs=2,
        default=(160, 272),
        help="root of a picture's pixels at the start and at the end (with --echo: at the end, all the time)",
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument(
        "--levels", type=float, nargs=2, default=(0.1, 1.0), help="difficulty at the start and from 60%% on"
    )
    parser.add_argument("--mixed", action="store_true", help="compute in bf16 where it is faster (AVX512-BF16, AMX)")
    parser.add_argument("--steady", action="store_true", help="keep the statistics of the batch norms (low rates)")
    parser.add_argument("--workers", type=int, default=1, help="processes that compose")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: a GPU where there is one")
    parser.add_argument(
        "--echo",
        type=int,
        default=0,
        help="times that a composed picture is used, varied on the device (0: once, as is)",
    )
    parser.add_argument(
        "--agree",
        type=float,
        default=0.0,
        help="weight of what a picture and its shifted, grainy like, or two a moment apart, differ in",
    )
    parser.add_argument("--joints", type=float, default=0.2, help="weight of where left and right joints are")
    for name, what in SHARES.items():
        usual = getattr(Shares, name)
        parser.add_argument(f"--share-{name}", type=float, default=usual, metavar="SHARE", help=f"of {what} ({usual})")
    parser.add_argument("--average", type=float, default=0.99, help="of the weights that are kept, a step")
    parser.add_argument("--say", type=float, default=60.0, metavar="SECONDS", help="between two lines")
    parser.add_argument("--save", type=float, default=60.0, metavar="SECONDS", help="between two checkpoints")
    parser.add_argument(
        "--evaluate", type=float, default=600.0, metavar="SECONDS", help="between two measurements (0: none)"
    )
    given = parser.parse_args()
    return Plan(
        cutouts=tuple(given.cutouts),
        backgrounds=tuple(given.backgrounds),
        photos=(given.photos[0], given.photos[1]) if given.photos else None,
        out=given.out,
        peers=tuple(given.peers),
        start=given.start,
        seconds=given.hours * 3600,
        sides=(given.sides[0], given.sides[1]),
        batch=given.batch,
        rate=given.rate,
        mixed=given.mixed,
        steady=given.steady,
        levels=(given.levels[0], given.levels[1]),
        workers=given.workers,
        seed=given.seed,
        device=given.device,
        shares=Shares(**{name: getattr(given, f"share_{name}") for name in SHARES}),
        echo=given.echo,
        agree=given.agree,
        joints=given.joints,
        average=given.average,
        said_seconds=given.say,
        saved_seconds=given.save,
        evaluated_seconds=given.evaluate,
    )
