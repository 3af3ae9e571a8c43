"""Class names and colours of the segmentation models, as data."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sapiens_stream.errors import UsageError
from sapiens_stream.text import whole_number

MAX_CLASSES = 256  # a class map is uint8


@dataclass(frozen=True)
class ClassSet:
    """The classes a model tells apart; the id of a class is its place, 0 is the background.

    Args:
        title: of the set.
        names: of the classes.
        colours: RGB, 0 to 255, of each.

    >>> SAPIENS[3], SAPIENS.colours[3]
    ('Hair', (255, 0, 109))
    """

    title: str
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colours) or not 2 <= len(self.names) <= MAX_CLASSES:
            raise ValueError(f"{len(self.names)} names and {len(self.colours)} colours; 2 to {MAX_CLASSES} of each")

    @classmethod
    def told(cls, title: object, names: object, colours: object) -> ClassSet:
        """As JSON and tags have it, which anybody may have edited.

        Args:
            title: of the set.
            names: of the classes, a list.
            colours: "#rrggbb" of each, a list.

        Returns:
            The set.

        Raises:
            ValueError: for what is none.

        >>> ClassSet.told("mugs", ["Background", "Mug"], ["#000000", "#ff0000"]).colours[1]
        (255, 0, 0)
        """
        if not isinstance(names, list) or not isinstance(colours, list):
            raise ValueError("no lists of names and colours")
        matches = [re.fullmatch("#([0-9a-fA-F]{6})", str(each)) for each in colours]
        return cls(str(title), tuple(map(str, names)), tuple(_rgb(int(each[1], 16)) for each in matches if each))

    @property
    def hex_colours(self) -> tuple[str, ...]:
        """The colours as "#rrggbb"."""
        return tuple(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in self.colours)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        """The name of a class."""
        return self.names[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def recoloured(self, colours: Mapping[str | int, tuple[int, int, int]]) -> ClassSet:
        """The same with other colours for some classes.

        Args:
            colours: RGB, 0 to 255, by the name or id of a class.

        Returns:
            Another ClassSet.

        Raises:
            UsageError: for a class that is not in the set.

        >>> SAPIENS.recoloured({"hair": (255, 0, 0)}).colours[3]
        (255, 0, 0)
        """
        changed = {self.ids([each])[0]: colour for each, colour in colours.items()}
        return replace(self, colours=tuple(changed.get(index, own) for index, own in enumerate(self.colours)))

    @cached_property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(256, 3) uint8 RGB, row by class id; rows past the last class are black. Not writable."""
        palette = np.zeros((MAX_CLASSES, 3), np.uint8)
        palette[: len(self)] = self.colours
        palette.flags.writeable = False
        return palette

    def ids(self, wanted: Iterable[str | int]) -> tuple[int, ...]:
        """The ids of some classes.

        Args:
            wanted: their names (any case, "-" or " " for "_") or ids.

        Returns:
            Their ids, sorted, each once.

        Raises:
            UsageError: for a class that is not in the set, naming those that are.

        >>> SAPIENS.ids(["hair", 2])
        (2, 3)
        """
        by_name = {name.lower(): index for index, name in enumerate(self.names)}
        found = set()
        for item in wanted:
            text = str(item).strip().lower().replace("-", "_").replace(" ", "_")
            number = whole_number(text)
            index = by_name.get(text, -1) if number is None else number
            if not 0 <= index < len(self):
                raise UsageError(
                    f"no class {str(item)[:80]!r} in {self.title}; there are 0 to {len(self) - 1}:"
                    f" {', '.join(self.names)}"
                )
            found.add(index)
        return tuple(sorted(found))


# Published with the models; left and right are the person's own.
_SAPIENS2 = {
    "Background": 0x323232,
    "Apparel": 0xFFDA00,
    "Eyeglass": 0x0ECCB6,
    "Face_Neck": 0x80C8FF,
    "Hair": 0xFF006D,
    "Left_Foot": 0xBD00CC,
    "Left_Hand": 0xFF00DA,
    "Left_Lower_Arm": 0x00A0CC,
    "Left_Lower_Leg": 0x00FF91,
    "Left_Shoe": 0xCC0083,
    "Left_Sock": 0xB600FF,
    "Left_Upper_Arm": 0xFF6D00,
    "Left_Upper_Leg": 0x00FFFF,
    "Lower_Clothing": 0x4800FF,
    "Right_Foot": 0xCC8300,
    "Right_Hand": 0xFF0000,
    "Right_Lower_Arm": 0x48FF00,
    "Right_Lower_Leg": 0xBDCC00,
    "Right_Shoe": 0xB6FF00,
    "Right_Sock": 0x6600CC,
    "Right_Upper_Arm": 0x2048CC,
    "Right_Upper_Leg": 0x0091FF,
    "Torso": 0x0ECC00,
    "Upper_Clothing": 0x008048,
    "Lower_Lip": 0xEBCD77,
    "Upper_Lip": 0x73E370,
    "Lower_Teeth": 0x9D718F,
    "Upper_Teeth": 0x845D32,
    "Tongue": 0x521572,
}


def _rgb(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255


def _from_table(title: str, table: dict[str, int]) -> ClassSet:
    return ClassSet(title, tuple(table), tuple(_rgb(value) for value in table.values()))


SAPIENS2 = _from_table("Sapiens2", _SAPIENS2)
SAPIENS = _from_table("Sapiens", {name: value for name, value in _SAPIENS2.items() if name != "Eyeglass"})
FOREGROUND = _from_table("foreground", {"Background": 0x323232, "Foreground": 0x00A0CC})

OF_BODIES = (SAPIENS, SAPIENS2)
"""The sets of body parts that go by name: those of the families of models."""


def numbered(count: int) -> ClassSet:
    """`count` classes without known names: Background, Class_1, ...; hues spread by the golden ratio."""
    hues = (index * 0.6180339887 % 1.0 for index in range(1, count))
    colours = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, 1.0)) for hue in hues]
    names = ("Background", *(f"Class_{index}" for index in range(1, count)))
    return ClassSet(f"{count} numbered classes", names, ((50, 50, 50), *colours))  # type: ignore[arg-type]


def titled(title: str) -> ClassSet | None:
    """The classes by the title of their set; None for one that is not known."""
    told = title.removesuffix(" numbered classes")
    if told != title and (count := whole_number(told)) is not None and 2 <= count <= MAX_CLASSES:
        return numbered(count)
    return next((each for each in (FOREGROUND, *OF_BODIES) if each.title == title), None)
