"""What a file of lines, some a frame, has in common, whatever they say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from sapiens_stream.errors import OutputError, cause
from sapiens_stream.frame import Segmentation
from sapiens_stream.sinks.files import not_written, take_over
from sapiens_stream.sinks.growing import GrowingFile
from sapiens_stream.sinks.sink import Sink


class Lines(Sink):
    """Writes a file of lines, in order, which a class of its own encodes.

    While it grows the file lies beside `path` (".NAME.part.EXT"), whole to the last line that was written. Raises
    OutputError where writing fails; the lines before that are finished under the name by `close`.
    """

    ordered: ClassVar[bool] = True

    head: ClassVar[bytes] = b""
    """What stands before the first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._growing: GrowingFile | None = None
        self._failure: OSError | None = None
        self._count = 0
        self._written: list[Path] = []

    @abstractmethod
    def _encoder(self, result: Segmentation) -> Callable[[], bytes]:
        """Asked for in order; what it returns gives the lines of a result, in any thread."""

    def resume(self, reached: int = 0) -> None:
        super().resume(reached)
        take_over(self._path)

    def prepare(self, result: Segmentation) -> Callable[[], bytes]:
        return self._encoder(result)

    def write(self, result: Segmentation) -> None:
        self.write_prepared(result, self._encoder(result)())

    def write_prepared(self, result: Segmentation, prepared: Any) -> None:
        try:
            if self._growing is None:
                self._growing = GrowingFile(self._path)
                prepared = self.head + prepared
            self._growing.append(prepared)
            self._count += 1
        except OSError as error:
            self._failure = error
            raise not_written(self._path, error) from error

    def close(self) -> None:
        growing, self._growing = self._growing, None
        if growing is None:
            return
        try:
            if growing.size:
                if not self._stays(self._path, self._count):
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
