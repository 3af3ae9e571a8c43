"""Label Studio's tasks, with brush masks as predictions to begin from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from sapiens_stream.results.export.target import Target, to_json
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.files import written_aside
from sapiens_stream.sinks.instances import Instance, find_instances, instance_mask

TASKS = "tasks.json"
CONFIG = "config.xml"
FROM_NAME, TO_NAME = "parts", "image"

_COUNT_BITS, _WORD_BITS, _SIZE_BITS = 32, 5, 4
_SIZES = (3, 4, 8, 16)
"""Of how many bits a run's length may be."""
_CHANNELS = 4
"""A mask is an RGBA picture, all four the same."""


def write(frames: Iterable[StoredFrame], target: Target) -> None:
    """tasks.json, to be imported, and config.xml, the labels for the project's settings.

    `image` of a task is the picture's name: whoever imports them says where pictures are served from.
    """
    with written_aside(target.folder / CONFIG) as file:
        file.write(_config(target))
    with written_aside(target.folder / TASKS) as file:
        file.write(b"[")
        for number, frame in enumerate(frames):
            target.write_picture(frame)
            results = [
                _result(place, instance, frame)
                for place, instance in enumerate(find_instances(frame.class_map, frame.person_map, target.classes))
            ]
            task = {
                "data": {"image": target.picture_name(frame), "frame": frame.index},
                "predictions": [{"model_version": "sapiens-stream", "result": results}],
            }
            file.write((b",\n" if number else b"\n") + to_json(task))
        file.write(b"]\n")


def _result(place: int, instance: Instance, frame: StoredFrame) -> dict[str, Any]:
    height, width = frame.size
    part, (x, y) = instance_mask(instance, frame.class_map, frame.person_map)
    mask = np.zeros(frame.size, bool)
    mask[y : y + part.shape[0], x : x + part.shape[1]] = part
    result: dict[str, Any] = {
        "id": f"f{frame.index}_{place}",
        "type": "brushlabels",
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_rle(mask), "brushlabels": [instance.label.name]},
    }
    if instance.person is not None:
        result["meta"] = {"text": [f"person {instance.person}"]}
    return result


def encode_rle(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """A mask, (H, W), as Label Studio's run lengths, which are those of thi.ng/rle-pack.

    The bits are: how many words follow (32), the word's size less 1 (5), of each of four sizes of lengths the size less
    1 (4); then for each run 1, which of the sizes (2), the length less 1 in that size, and the word (8).
    """
    flat = mask.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.append(starts, flat.size)) * _CHANNELS
    words = flat[starts].astype(np.uint64) * np.uint64(255)
    longest = 1 << _SIZES[-1]
    pieces = -(-lengths // longest)
    words, last = words.repeat(pieces), np.cumsum(pieces) - 1
    counts = np.full(int(pieces.sum()), longest, np.int64)
    counts[last] = lengths - (pieces - 1) * longest
    sizes = np.searchsorted([1 << size for size in _SIZES], counts)
    bits_of_length = np.asarray(_SIZES)[sizes]
    runs = (
        (np.uint64(0b100) | sizes.astype(np.uint64)) << bits_of_length.astype(np.uint64)
        | (counts - 1).astype(np.uint64)
    ) << np.uint64(8) | words
    header = [(flat.size * _CHANNELS, _COUNT_BITS), (7, _WORD_BITS), *((size - 1, _SIZE_BITS) for size in _SIZES)]
    values = np.concatenate([np.array([value for value, _ in header], np.uint64), runs])
    widths = np.concatenate([[bits for _, bits in header], 3 + bits_of_length + 8])
    ends = np.cumsum(widths)
    place = ends.repeat(widths) - np.arange(ends[-1]) - 1
    bits = values.repeat(widths) >> place.astype(np.uint64) & np.uint64(1)
    return np.packbits(bits.astype(bool))


def _config(target: Target) -> bytes:
    """The labelling interface, with the classes in their colours."""
    from xml.sax.saxutils import quoteattr

    classes = target.classes
    labels = "".join(
        f'    <Label value={quoteattr(classes[index])} background="#{bytes(classes.colours[index]).hex()}"/>\n'
        for index in range(1, len(classes))
    )
    return (
        f'<View>\n  <Image name="{TO_NAME}" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="{FROM_NAME}" toName="{TO_NAME}">\n{labels}  </BrushLabels>\n</View>\n'
    ).encode()
