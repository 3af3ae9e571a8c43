"""Names as Cryptomatte's ids, by its specification 1.2 (Psyop): MurmurHash3, as the bits of a float."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from functools import lru_cache

_EXPONENT = 0x7F800000
_LOWEST_OF_IT = 1 << 23


@lru_cache(maxsize=4096)
def hash_of(name: str) -> int:
    """32 bits: MurmurHash3_x86_32 of the name in UTF-8, seed 0, so that they are a normal float.

    An exponent of all zeros or all ones would make it a denormal number, an infinity or no number, of which programs
    keep the bits as little as they like; its lowest bit is turned over then.
    """
    import mmh3

    bits = int(mmh3.hash(name.encode(), 0, signed=False))
    return bits ^ _LOWEST_OF_IT if bits & _EXPONENT in (0, _EXPONENT) else bits


def id_of(name: str) -> float:
    """The float of those bits, which a pixel holds."""
    return float(struct.unpack("<f", struct.pack("<I", hash_of(name)))[0])


def hexadecimal(name: str) -> str:
    return f"{hash_of(name):08x}"


def attributes_of(layer: str, names: Iterable[str]) -> dict[str, str]:
    """The header of a layer: its name, how ids are made, and which name each of them stands for."""
    key = f"cryptomatte/{hexadecimal(layer)[:7]}"
    manifest = {name: hexadecimal(name) for name in names}
    return {
        f"{key}/name": layer,
        f"{key}/hash": "MurmurHash3_32",
        f"{key}/conversion": "uint32_to_float32",
        f"{key}/manifest": json.dumps(manifest, separators=(",", ":"), ensure_ascii=False),
    }
