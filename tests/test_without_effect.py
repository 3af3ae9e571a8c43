"""Options that say how something is written which is not asked for are told, not passed over."""

from __future__ import annotations

from dataclasses import fields

import pytest

from sapiens_stream.sinks import Outputs, registry
from tests.program import Program

OVERLAY = "is of --overlay video, which is not asked for"
PAINTED = "is of --overlay video|frames or --contact-sheet, none of which is asked for"
JSON = "is of --save json|jsonl, none of which is asked for"
SOUND = "is of --overlay video or --matte prores4444|qtrle|png|vp9|ffv1, none of which is asked for"
SHOWN = "is of --record, --window or --web, none of which is asked for"
NONE = ("--overlay", "none")
PEOPLE = ("--people", "builtin")
UNSEEN = ("live", "nowhere", "--no-window")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("video", "c.mp4", *NONE, "--codec", "ffv1"), f"--codec ffv1 {OVERLAY}"),
        (("video", "c.mp4", *NONE, "--crf", "0"), f"--crf 0 {OVERLAY}"),
        (("video", "c.mp4", "--overlay", "frames", "--preset", "slow"), f"--preset slow {OVERLAY}"),
        (("video", "c.mp4", *NONE, "--audio", "first"), f"--audio first {SOUND}"),
        (("video", "c.mp4", *NONE, "--opacity", "0"), f"--opacity 0.0 {PAINTED}"),
        (("video", "c.mp4", *NONE, "--keep-background"), f"--keep-background {PAINTED}"),
        (("video", "c.mp4", *NONE, *PEOPLE, "--color-by", "person"), f"--color-by person {PAINTED}"),
        (("video", "c.mp4", *NONE, *PEOPLE, "--ids"), f"--ids {PAINTED}"),
        (
            ("video", "c.mp4", "--save-format", "jpg"),
            "--save-format jpg is of --overlay frames, which is not asked for",
        ),
        (("video", "c.mp4", "--save", "classes", "--regions", "rle"), f"--regions rle {JSON}"),
        (("video", "c.mp4", "--save", "none", "--title", "t"), f"--title t {JSON}"),
        (
            ("video", "c.mp4", "--matte", "vp9", "--start-number", "1"),
            "--start-number 1 is of --save cryptomatte or --matte png8|png16|exr, none of which is asked for",
        ),
        (("images", ".", "--save", "classes", "--title", "t"), "--title t is of --save json, which is not asked for"),
        ((*UNSEEN, "--codec", "ffv1"), f"--codec ffv1 {SHOWN}"),
        (
            (*UNSEEN, "-o", "x"),
            "-o x is of --record, --save, --window or --web, none of which is asked for",
        ),
        ((*UNSEEN, "--title", "t"), "--title t is of --window, --web or --save json|jsonl, none of which is asked for"),
        ((*UNSEEN, "--opacity", "1"), f"--opacity 1.0 {SHOWN}"),
        ((*UNSEEN, *PEOPLE, "--ids"), f"--ids {SHOWN}"),
        (("cluster", "run", "gone.txt", *NONE, "--crf", "9"), f"--crf 9 {OVERLAY}"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_option_of_what_is_not_asked_for_is_told(program: Program, arguments: list[str], told: str) -> None:
    outcome = program(*arguments)
    assert outcome.code != 0  # for there is no such input
    assert any(told in line for line in outcome.stderr.splitlines())
    assert told not in program(*arguments, "--quiet").stderr


def test_a_cluster_run_takes_no_ids_without_people(program: Program) -> None:
    outcome = program("cluster", "run", "c.mp4", "--ids")
    assert outcome.code == 2 and "--ids, but people are not looked for one by one" in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("video", "c.mp4", *NONE, "--no-audio", "--codec", "libx264", "--opacity", "0.5"),
        ("video", "c.mp4", *NONE, "--save", "classes", "--regions", "none"),
        ("video", "c.mp4", *NONE, "--contact-sheet", "--opacity", "1"),
        ("video", "c.mp4", *NONE, "--matte", "vp9", "--audio", "first"),
        ("video", "c.mp4", *NONE, "--save", "cryptomatte", "--start-number", "1"),
        ("video", "c.mp4", *NONE, "--save", "jsonl", "--title", "t", "--regions", "rle"),
        ("video", "c.mp4", "--codec", "ffv1", "--keep-background", "--audio", "first"),
        ("live", "nowhere", "--title", "t", "--codec", "ffv1", "--opacity", "1"),
        ("live", "nowhere", "--no-window", "--web", "--regions", "rle", "--codec", "ffv1", "--opacity", "1"),
        ("live", "nowhere", "--no-window", "--record", "a.mkv", "--codec", "ffv1", "--keep-background"),
        ("images", "c.jpg", "--title", "t", "--side-by-side", "--save-format", "jpg", "--opacity", "0.3"),
        ("images", "m.pt2", "--input", "photos", "--output_root", "o", "--save_format", "bmp", "--title", "t"),
    ],
    ids=" ".join,
)
def test_what_has_an_effect_or_asks_for_nothing_is_taken(program: Program, arguments: list[str]) -> None:
    outcome = program(*arguments)
    assert outcome.code in (1, 2) and "asked for" not in outcome.stderr
    assert any("no such" in each for each in outcome.complaints)


def test_every_output_takes_what_there_is() -> None:
    known = {each.name for each in fields(Outputs)}
    assert {name for kind in registry.OUTPUTS for name in kind.takes} <= known
    everywhere = {"overlay", "overlay_file", "save", "only", "contact_sheet", "matte", "gpu"}
    assert known - {name for kind in registry.OUTPUTS for name in kind.takes} == everywhere
