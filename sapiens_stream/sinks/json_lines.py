"""What was found in the frames of a video as one file, the JSON of each in a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_stream.frame import Segmentation
from sapiens_stream.settings import REGIONS, Regions
from sapiens_stream.sinks.json_file import as_json, bytes_of_json, check_words, with_headroom
from sapiens_stream.sinks.lines import Lines
from sapiens_stream.sinks.sink import Sink

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target


class JsonLines(Lines):
    """Writes NAME.jsonl: for each frame, in order, a line with what NAME.json holds; see `as_json`."""

    def __init__(
        self, path: Path, *, title: str, regions: Regions = REGIONS, only: tuple[int, ...] | None = None
    ) -> None:
        check_words(regions, title)
        super().__init__(path)
        self._encode = partial(as_json, title=title, regions=regions, only=only)
        self._regions = regions

    def _encoder(self, result: Segmentation) -> Callable[[], bytes]:
        return lambda: self._encode(result) + b"\n"

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return bytes_of_json(size, self._regions)

    def measure(self, result: Segmentation) -> int:
        return with_headroom(self._encode(result))


def json_lines(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return JsonLines(target.path, title=outputs.title, regions=outputs.regions, only=outputs.only)
