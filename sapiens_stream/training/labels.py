"""Labels of other data sets, each as the set of our classes that are right where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS

BoolArray = npt.NDArray[np.bool_]

IGNORE = 255
"""The label of pixels that do not count."""
UPPER, LOWER, APPAREL = "Upper_Clothing", "Lower_Clothing", "Apparel"
FACE = "Face_Neck", "Lower_Lip", "Upper_Lip", "Lower_Teeth", "Upper_Teeth", "Tongue"


def both(*parts: str) -> tuple[str, ...]:
    """The classes of the parts on either side."""
    return tuple(f"{side}_{part}" for part in parts for side in ("Left", "Right"))


HANDS, FEET, SHOES, SOCKS = both("Hand"), both("Foot"), both("Shoe"), both("Sock")
ARMS, LEGS = both("Lower_Arm", "Upper_Arm"), both("Lower_Leg", "Upper_Leg")


@dataclass(frozen=True, eq=False)
class Labels:
    """A data set's labels: `names`, and `sets` (labels, classes), which of our classes are right. No class: ignored."""

    names: tuple[str, ...]
    sets: BoolArray

    @classmethod
    def of(cls, names: Sequence[str], meanings: Mapping[str, Iterable[str]]) -> Labels:
        """Labels that `meanings` does not name are ignored."""
        sets = np.zeros((len(names), len(SAPIENS)), bool)
        for row, name in enumerate(names):
            sets[row, [SAPIENS.names.index(meant) for meant in meanings.get(name, ())]] = True
        return cls(tuple(names), sets)

    def within(self, names: Iterable[str]) -> npt.NDArray[np.int8]:
        """(labels,): 1 for labels that mean nothing but these classes, 0 for those that mean others, -1: either."""
        chosen = np.isin(SAPIENS.names, list(names))
        some, other = (self.sets & chosen).any(1), (self.sets & ~chosen).any(1)
        return np.where(some & ~other, 1, np.where(other & ~some, 0, -1)).astype(np.int8)


OURS = Labels(tuple(SAPIENS.names), np.eye(len(SAPIENS), dtype=bool))

_UPPER = (
    "blazer",
    "blouse",
    "cardigan",
    "coat",
    "cape",
    "hoodie",
    "jacket",
    "shirt",
    "sweater",
    "sweatshirt",
    "t-shirt",
    "top",
    "vest",
    "bra",
)
_LOWER = ("pants", "jeans", "shorts", "skirt", "panties")
_WHOLE = ("dress", "romper", "suit", "jumper", "bodysuit", "swimwear", "intimate")
_SHOES = ("shoes", "boots", "heels", "flats", "pumps", "sneakers", "loafers", "clogs", "wedges")
CLOTHING: dict[str, tuple[str, ...]] = {
    "null": ("Background",),
    "hair": ("Hair",),
    "skin": (*FACE, "Torso", *HANDS, *ARMS, *FEET, *LEGS),
    **dict.fromkeys(_UPPER, (UPPER,)),
    **dict.fromkeys(_LOWER, (LOWER,)),
    **dict.fromkeys(_WHOLE, (UPPER, LOWER)),
    **dict.fromkeys(("leggings", "stockings", "tights"), (LOWER, *SOCKS, *LEGS)),
    **dict.fromkeys(_SHOES, SHOES),
    "sandals": (*SHOES, *FEET),
    "socks": SOCKS,
    **dict.fromkeys(("hat", "glasses", "sunglasses"), (APPAREL,)),
    "gloves": (APPAREL, *HANDS),
}
"""What the 59 labels of Clothing Co-Parsing mean. Bags, belts, ties and scarves may be called anything, and jewellery
is thinner than its labels' edges are true: all ignored."""


def _side(side: str, *parts: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in parts)


PARSING = Labels.of(
    (
        *("background", "hat", "hair", "glove", "sunglasses", "upper clothes", "dress", "coat", "socks", "pants"),
        *("torso skin", "scarf", "skirt", "face", "left arm", "right arm", "left leg", "right leg"),
        *("left shoe", "right shoe"),
    ),
    {
        "background": ("Background",),
        "hat": (APPAREL,),
        "hair": ("Hair",),
        "glove": (APPAREL, *HANDS),
        "sunglasses": (APPAREL,),
        "upper clothes": (UPPER,),
        "dress": (UPPER, LOWER),
        "coat": (UPPER,),
        "socks": SOCKS,
        "pants": (LOWER,),
        "torso skin": ("Torso", "Face_Neck"),
        "skirt": (LOWER,),
        "face": FACE,
        **{f"{side.lower()} arm": _side(side, "Upper_Arm", "Lower_Arm", "Hand") for side in ("Left", "Right")},
        **{f"{side.lower()} leg": _side(side, "Upper_Leg", "Lower_Leg", "Foot") for side in ("Left", "Right")},
        **{f"{side.lower()} shoe": _side(side, "Shoe") for side in ("Left", "Right")},
    },
)
"""The 20 labels common in human parsing (CIHP, LIP)."""
