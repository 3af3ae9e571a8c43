"""How well a model labels body parts: IoU of the foreground and of each class, pixels pooled over the pictures.

    python -m benchmarks.quality [MODEL] [--pictures FOLDER ...]

A folder holds NAME.jpg (or .png) and NAME_gt.png, the classes of Sapiens' 28, 255 where pixels do not count. The
recipe's `evaluate` writes one of held-out renders; hand-labelled photographs are looked for in ../shared/labelled.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.models.builtin.recipe.evaluate import HEAD, Agreement, UInt8Array

LABELLED = Path(__file__).parents[2] / "shared" / "labelled"


def labelled(folder: Path) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Pictures (H, W, 3) uint8 RGB with their labels (H, W) uint8, by name."""
    for path in sorted(folder.glob("*_gt.png")):
        name = path.name.removesuffix("_gt.png")
        picture = next(folder / (name + suffix) for suffix in (".jpg", ".png") if (folder / (name + suffix)).exists())
        image, label = cv2.imread(str(picture)), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or label is None:
            raise SystemExit(f"{picture} or its labels can not be read")
        yield np.ascontiguousarray(image[..., ::-1]), np.asarray(label, np.uint8)


def measure(segmenter: Segmenter, folder: Path) -> Agreement:
    """Of a model with the labels of a folder; Sapiens2's eyeglasses count as apparel, as in Sapiens."""
    apparel = SAPIENS.names.index("Apparel")
    ids = [SAPIENS.names.index(name) if name in SAPIENS.names else apparel for name in segmenter.classes]
    table = np.array(ids, np.uint8)
    return Agreement.of((label, table[segmenter(image).class_map]) for image, label in labelled(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="builtin")
    parser.add_argument("--pictures", type=Path, nargs="*", help="folders of pictures and labels")
    given = parser.parse_args()
    folders = [folder for folder in given.pictures or [LABELLED] if any(folder.glob("*_gt.png"))]
    if not folders:
        raise SystemExit(f"no NAME_gt.png in {', '.join(map(str, given.pictures or [LABELLED]))}")
    segmenter = Segmenter(given.model)
    found = [measure(segmenter, folder) for folder in folders]
    table = Table("IoU", *(folder.name for folder in folders), title=f"{given.model}, pixels pooled over pictures")
    rows = {
        "foreground": [agreement.foreground for agreement in found],
        "mean over classes": [agreement.mean for agreement in found],
        "head (face and hair)": [agreement.merged(HEAD) for agreement in found],
    }
    for name in SAPIENS.names:
        if any(name in agreement.by_class for agreement in found):
            rows[name] = [agreement.by_class.get(name, float("nan")) for agreement in found]
    for name, values in rows.items():
        table.add_row(name, *("-" if np.isnan(value) else f"{value:.3f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
