"""`python -m benchmarks.render`: results made again from class maps, against decoding, painting and encoding alone."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.timing import Comparison, compare
from sapiens_stream import LabelVideo, Segmenter
from sapiens_stream.classes import ClassSet
from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.painting import Painter
from sapiens_stream.pipeline import Run
from sapiens_stream.results.past_run import past_runs
from sapiens_stream.results.render import open_source_of, recorded_outputs, render
from sapiens_stream.sinks import Outputs, OverlayVideo
from sapiens_stream.sources import Video

CLIP = Path(__file__).parents[1] / "samples" / "people.mp4"


def segment(clip: Path, folder: Path) -> None:
    """A run of the built-in model that leaves a label video."""
    with Segmenter("builtin", device="cpu") as segmenter, Video(clip) as source:
        outputs = Outputs(overlay="none", save=frozenset({"labels"}))
        sinks = outputs.sinks(folder, clip.stem, source.info, segmenter.model.classes, print)
        record = folder / f"{clip.stem}_run.json"
        Run(source, segmenter.engine, sinks, record_path=record, settings={"save": "labels"}).execute(check=True)


def render_again(folder: Path, target: Path) -> None:
    """`results render`: an overlay from what `segment` has left, by the source that its record names."""
    [past] = past_runs(folder)
    outputs = recorded_outputs(past, {"overlay": "video", "save": frozenset()})
    with open_source_of(past, ()) as source:
        told = {"on_skip": print, "on_damage": print, "warn": print, "note": lambda line: None}
        render(past, source, outputs, target, overwrite=True, **told).execute(check=True)


def plain(clip: Path, class_maps: list[UInt8Array], classes: ClassSet, target: Path) -> None:
    """The same overlay by a loop: each frame is decoded, painted by the class map at hand, and encoded."""
    with Video(clip) as source:
        overlay = OverlayVideo(target / "plain.mp4", source.info, Painter(classes))
        frames = (frame for frame in source.frames() if isinstance(frame, Frame))
        for frame, class_map in zip(frames, class_maps, strict=True):
            overlay.write(Segmentation(frame=frame, class_map=class_map, classes=classes, model="builtin"))
        overlay.close()


def compare_render(clip: Path, folder: Path) -> Comparison:
    """Both ways, in turn."""
    segment(clip, folder)
    with LabelVideo(folder / f"{clip.stem}_labels.mkv") as video:
        class_maps, classes = list(video), video.classes
    return compare(
        lambda: render_again(folder, folder / "rendered"),
        lambda: plain(clip, class_maps, classes, folder),
        repeats=5,
    )


def main() -> None:
    """The row."""
    with tempfile.TemporaryDirectory() as name:
        found = compare_render(CLIP, Path(name))
        label = f"results render, {CLIP.name}"
        baseline = "decode, paint and encode in a loop, class maps at hand"
        print(f"  {label:<44} {found.speedup:6.2f} x   {found.ours:8.3f} s against {found.baseline:8.3f} s: {baseline}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
