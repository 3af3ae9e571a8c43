"""How well a model labels body parts: IoU of the foreground and of each class, pixels pooled over the pictures.

    python -m benchmarks.quality [MODEL] [--detail TIMES] [--pictures FOLDER ...] [--parsing FOLDER ...]
        [--clothing FOLDER ...]

`--pictures`: NAME.jpg (or .png) and NAME_gt.png, the classes of Sapiens' 28, 255 where pixels do not count. The
recipe's `evaluate` writes one of held-out renders; hand-labelled photographs are looked for in ../shared/labelled.
`--parsing`: the same with the 20 labels of human parsing. `--clothing`: ID.jpg, ID.png and labels.json, as Clothing
Co-Parsing has them; the photographs that training keeps for measuring. In these two a label is a set of classes that
are right: "right set" is the share of people's pixels that are given one of them, of all and by set. "swapped": of the
pixels of limbs and shoes found as such, the share on the wrong side; of whole classes also by how people are seen,
which their labels' own sides tell: from the front, the side or the back, or seated.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.evaluate import HEAD, STREET, Agreement, UInt8Array, swapped_by_view
from sapiens_stream.training.labels import OURS, PARSING, Labels
from sapiens_stream.training.photos import clothing_labels, held_out_photos

LABELLED = Path(__file__).parents[2] / "shared" / "labelled"


def labelled(folder: Path) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Pictures (H, W, 3) uint8 RGB with their labels (H, W) uint8, by name."""
    for path in sorted(folder.glob("*_gt.png")):
        name = path.name.removesuffix("_gt.png")
        picture = next(folder / (name + suffix) for suffix in (".jpg", ".png") if (folder / (name + suffix)).exists())
        image, label = cv2.imread(str(picture)), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or label is None:
            raise SystemExit(f"{picture} or its labels cannot be read")
        yield np.ascontiguousarray(image[..., ::-1]), np.asarray(label, np.uint8)


def predicted(
    segmenter: Segmenter, pictures: Iterable[tuple[UInt8Array, UInt8Array]]
) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Each picture's label, and a model's class map of it; Sapiens2's eyeglasses count as apparel, as in Sapiens."""
    apparel = SAPIENS.names.index("Apparel")
    ids = [SAPIENS.names.index(name) if name in SAPIENS.names else apparel for name in segmenter.classes]
    table = np.array(ids, np.uint8)
    return ((label, table[segmenter(image).class_map]) for image, label in pictures)


def measure(segmenter: Segmenter, folder: Path) -> Agreement:
    """Of a model with the labels of a folder."""
    return Agreement.of(predicted(segmenter, labelled(folder)))


def figures(
    segmenter: Segmenter, pictures: Iterable[tuple[UInt8Array, UInt8Array]], labels: Labels = OURS
) -> dict[str, float]:
    """What is printed of the pictures of a folder, by the name of the row."""
    pairs = list(predicted(segmenter, pictures))
    found = Agreement.of(pairs, labels)
    rows = {"foreground": found.foreground, "swapped": found.swapped}
    if labels is OURS:
        rows |= {f"swapped: {view}": share for view, share in swapped_by_view(pairs).items()}
        rows |= {"mean over classes": found.mean, "head (face and hair)": found.merged(HEAD)}
    else:
        rows |= {"right set": found.right_set} | {name: found.merged(names) for name, names in STREET.items()}
        rows |= {f"right set: {name}": share for name, share in found.right_by_set.items()}
    return rows | found.by_class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="builtin")
    parser.add_argument("--detail", type=float, help="times the pixels that the model is made for")
    parser.add_argument("--pictures", type=Path, nargs="*", help="folders of pictures and labels")
    parser.add_argument(
        "--parsing", type=Path, nargs="*", default=[], help="folders with the 20 labels of human parsing"
    )
    parser.add_argument("--clothing", type=Path, nargs="*", default=[], help="folders with clothing labels")
    given = parser.parse_args()
    usual = [] if given.parsing or given.clothing else [LABELLED]
    folders = [folder for folder in given.pictures or usual if any(folder.glob("*_gt.png"))]
    if not folders and not given.parsing and not given.clothing:
        raise SystemExit(f"no NAME_gt.png in {', '.join(map(str, given.pictures or usual))}")
    segmenter = Segmenter(given.model, detail=given.detail)
    found = {folder.name: figures(segmenter, labelled(folder)) for folder in folders}
    for folder in given.parsing:
        found[folder.name] = figures(segmenter, labelled(folder), PARSING)
    for folder in given.clothing:
        found[folder.name] = figures(segmenter, held_out_photos(folder), clothing_labels(folder))
    table = Table("IoU", *found, title=f"{given.model}, pixels pooled over pictures")
    for name in dict.fromkeys(name for column in found.values() for name in column):
        values = [column.get(name, float("nan")) for column in found.values()]
        table.add_row(name, *("-" if np.isnan(value) else f"{value:.3f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
