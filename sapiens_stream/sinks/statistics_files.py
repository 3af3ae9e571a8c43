"""Statistics of a clip as a table, a row a frame, person and class: CSV, or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Segmentation
from sapiens_stream.install_line import install_line
from sapiens_stream.sinks.files import aside, create, discard, give_name, not_written
from sapiens_stream.sinks.lines import Lines
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sinks.statistics import Measured, Row
from sapiens_stream.text import encodable

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

_BYTES_PER_FRAME = 1500  # some fifteen rows
_ROWS_AT_ONCE = 20_000  # of Parquet, which keeps columns together
_DIGITS = 6


class _Measurer:
    """Measures results that come in order, each against the one before."""

    def __init__(self, only: tuple[int, ...] | None, moving: bool) -> None:
        self._only = only
        self._moving = moving
        self._before: Measured | None = None

    def of(self, result: Segmentation) -> Callable[[], list[Row]]:
        frame = result.frame
        measured = Measured(
            index=frame.index,
            name=frame.name,
            time=None if frame.time is None else float(frame.time),
            class_map=result.class_map,
            classes=result.classes,
            person_map=result.person_map,
            ranked=result.ranked,
        )
        before, self._before = self._before, measured if self._moving else None
        return lambda: measured.rows(before, self._only)


class StatisticsCsv(Lines):
    """Writes NAME_statistics.csv (RFC 4180, UTF-8): a line for each class of each person in each frame.

    What is not known is empty. `moving` says that frames follow each other, so that what changed can be told.
    """

    head: ClassVar[bytes] = (",".join(Row._fields) + "\r\n").encode()

    def __init__(self, path: Path, *, only: tuple[int, ...] | None = None, moving: bool = True) -> None:
        super().__init__(path)
        self._measurer = _Measurer(only, moving)

    def _encoder(self, result: Segmentation) -> Callable[[], bytes]:
        rows = self._measurer.of(result)
        return lambda: _as_csv(rows())

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return _BYTES_PER_FRAME


class StatisticsParquet(Sink):
    """Writes NAME_statistics.parquet, the same columns. Raises UsageError where pyarrow is missing."""

    ordered: ClassVar[bool] = True

    def __init__(self, path: Path, *, only: tuple[int, ...] | None = None, moving: bool = True) -> None:
        try:
            import pyarrow as arrow
            import pyarrow.parquet
        except ImportError as error:
            raise UsageError(f"--save parquet needs pyarrow: {install_line('export')} ({error})") from error
        self._path = path
        self._measurer = _Measurer(only, moving)
        self._schema = arrow.schema([(name, _arrow_type(arrow, name)) for name in Row._fields])
        self._file: BinaryIO | None = None
        self._table: Any = None
        self._rows: list[Row] = []
        self._failed = False
        self._count = 0
        self._written: list[Path] = []

    def prepare(self, result: Segmentation) -> Callable[[], list[Row]]:
        return self._measurer.of(result)

    def write(self, result: Segmentation) -> None:
        self.write_prepared(result, self._measurer.of(result)())

    def write_prepared(self, result: Segmentation, prepared: Any) -> None:
        self._rows += prepared
        self._count += 1
        if self._file is None or len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return _BYTES_PER_FRAME // 4

    def close(self) -> None:
        if self._file is None:
            return
        try:
            if not self._failed:
                self._flush()
                self._table.close()
                self._file.close()
                if not self._stays(self._path, self._count):
                    give_name(aside(self._path), self._path)
                self._written = [self._path]
        except OSError as error:
            raise not_written(self._path, error) from error
        finally:
            with suppress(OSError):  # which may have more to write
                self._file.close()
            self._file = None
            discard(aside(self._path))

    @property
    def planned(self) -> list[Path]:
        return [self._path]

    @property
    def written(self) -> list[Path]:
        return list(self._written)

    def _flush(self) -> None:
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = create(aside(self._path))
                self._table = parquet.ParquetWriter(self._file, self._schema, compression="zstd")
            rows, self._rows = self._rows, []
            columns = zip(*map(_with_text_names, rows), strict=True) if rows else [()] * len(Row._fields)
            arrays = [arrow.array(column, kind.type) for column, kind in zip(columns, self._schema, strict=True)]
            self._table.write_table(arrow.table(arrays, schema=self._schema))
        except OSError as error:
            self._failed = True
            raise not_written(self._path, error) from error


def _arrow_type(arrow: Any, column: str) -> Any:
    if column in ("name", "class_name"):
        return arrow.string()
    if column in ("frame", "pixels", "person", "class_id", "x", "y", "width", "height"):
        return arrow.int64()
    return arrow.float64()


def _as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(map(_shown, rows))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _shown(row: Row) -> list[object]:
    return [round(value, _DIGITS) if isinstance(value, float) else value for value in row]


def _with_text_names(row: Row) -> Row:
    """A file's name need not be text."""
    return row._replace(name=encodable(row.name))


def statistics_csv(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return StatisticsCsv(target.path, only=outputs.only, moving=target.source.kind != "photos")


def statistics_parquet(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return StatisticsParquet(target.path, only=outputs.only, moving=target.source.kind != "photos")
