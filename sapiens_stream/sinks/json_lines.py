"""What was found in the frames of a video as one file, the JSON of each in a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sapiens_stream.errors import OutputError, cause
from sapiens_stream.frame import Segmentation
from sapiens_stream.settings import REGIONS, Regions
from sapiens_stream.sinks.files import not_written
from sapiens_stream.sinks.growing import GrowingFile
from sapiens_stream.sinks.json_file import as_json, bytes_of_json, check_regions
from sapiens_stream.sinks.sink import Sink

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target


class JsonLines(Sink):
    """Writes NAME.jsonl: for each frame, in order, a line with what NAME.json holds; see `as_json`.

    While it grows the file lies beside `path` (".NAME.part.jsonl"), whole to the last line that was written. Raises
    OutputError where writing fails; the lines before that are finished under the name by `close`.
    """

    ordered: ClassVar[bool] = True

    def __init__(
        self, path: Path, *, title: str, regions: Regions = REGIONS, only: tuple[int, ...] | None = None
    ) -> None:
        check_regions(regions)
        self._path = path
        self._encode = partial(as_json, title=title, regions=regions, only=only)
        self._regions = regions
        self._growing: GrowingFile | None = None
        self._failure: OSError | None = None
        self._written: list[Path] = []

    def prepare(self, result: Segmentation) -> Callable[[], bytes]:
        return partial(self._encode, result)

    def write(self, result: Segmentation) -> None:
        self.write_prepared(result, self._encode(result))

    def write_prepared(self, result: Segmentation, prepared: Any) -> None:
        try:
            if self._growing is None:
                self._growing = GrowingFile(self._path)
            self._growing.append(prepared + b"\n")
        except OSError as error:
            self._failure = error
            raise not_written(self._path, error) from error

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return bytes_of_json(size, self._regions)

    def measure(self, result: Segmentation) -> int:
        return len(self._encode(result)) + 1

    def close(self) -> None:
        growing, self._growing = self._growing, None
        if growing is None:
            return
        try:
            if growing.size:
                growing.finish()
                self._written = [self._path]
        except OSError as error:
            raise not_written(self._path, error) from error
        finally:
            growing.close()
        if self._failure is not None:
            what = "is cut short" if self._written else "can't be written"
            raise OutputError(f"{self._path} {what}: {cause(self._failure)}") from self._failure

    @property
    def planned(self) -> list[Path]:
        return [self._path]

    @property
    def written(self) -> list[Path]:
        return list(self._written)


def json_lines(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return JsonLines(target.path, title=outputs.title, regions=outputs.regions, only=outputs.only)
