"""Parquet files of past usage. Needs pyarrow: ``pip install 'tallystick[parquet]'``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet
from pyarrow import types

from tallystick.client.history_rows import (
    HistoryError,
    HistoryRow,
    ReadingOptions,
    RowRefused,
    epoch_time,
    event_json,
    object_text,
    text_time,
)
from tallystick.client.history_tables import EventColumns, columns_of, given_fields
from tallystick.domain.quantity import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH_ROWS = 2_000
"""Rows read at once: bounds the memory, however large a row group is."""

FLOAT_DIGITS_MAX = 15
"""Digits of a quantity: a float is taken that is exactly a decimal of so many."""

Read = Callable[[Any], str]


def parquet_rows(
    path: Path, digest: str, options: ReadingOptions, after_row: int
) -> Iterator[HistoryRow]:
    """Return a Parquet file's rows as events, from beyond a row on.

    Raises:
        HistoryError: it is not such a file, or its columns or their types do not fit.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from _ParquetEvents(file, digest, options).rows(after_row)
    except pyarrow.ArrowInvalid as error:
        raise HistoryError("invalid_parquet", f"{path} cannot be read: {error}") from None


def count_rows(path: Path) -> int:
    """Return how many rows the file has.

    Raises:
        HistoryError: it is not a Parquet file.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            return int(file.metadata.num_rows)
    except pyarrow.ArrowInvalid as error:
        raise HistoryError("invalid_parquet", f"{path} cannot be read: {error}") from None


class _ParquetEvents:
    def __init__(
        self, file: pyarrow.parquet.ParquetFile, digest: str, options: ReadingOptions
    ) -> None:
        self._file = file
        self._digest = digest
        schema = file.schema_arrow
        self._columns: EventColumns = columns_of(schema.names, options)
        self._given = given_fields(options)
        self._readers = {
            field: _reader(field, column, schema.field(column).type, options)
            for field, column in self._columns.fields.items()
        }
        time = self._columns.fields["time"]
        self._casts = {
            column: _raw_type(schema.field(column).type, is_time=column == time)
            for column in self._columns.read
        }

    def rows(self, after_row: int) -> Iterator[HistoryRow]:
        groups, row = self._groups(after_row)
        for batch in self._file.iter_batches(
            BATCH_ROWS, row_groups=groups, columns=self._columns.read
        ):
            names = batch.schema.names
            cells = [self._cells(batch.column(number), name) for number, name in enumerate(names)]
            for found in zip(*cells, strict=True):
                row += 1
                if row > after_row:
                    yield self._row(row, dict(zip(names, found, strict=True)))

    def _groups(self, after_row: int) -> tuple[list[int], int]:
        """Return the row groups that are left, and how many rows lie before them."""
        metadata = self._file.metadata
        skipped = row = 0
        while skipped < metadata.num_row_groups:
            size = metadata.row_group(skipped).num_rows
            if row + size > after_row:
                break
            row += size
            skipped += 1
        return list(range(skipped, metadata.num_row_groups)), row

    def _cells(self, column: pyarrow.Array, name: str) -> list[Any]:
        """Return Python's values; times as integers, which hold every digit."""
        raw = self._casts[name]
        try:
            found: list[Any] = (column if raw is None else column.cast(raw)).to_pylist()
        except ValueError as error:
            raise HistoryError("column_type", f"column {name} cannot be read: {error}") from None
        return found

    def _row(self, row: int, cells: dict[str, Any]) -> HistoryRow:
        fields = {"id": f"{self._digest}-{row}", **self._given}
        try:
            for field, column in self._columns.fields.items():
                cell = cells[column]
                if cell is not None:
                    fields[field] = self._readers[field](cell)
                elif field not in ("source", "properties"):
                    raise RowRefused(f"{field}_missing", f"the row has no {column}")
            properties = fields.pop("properties", None)
            if self._columns.properties:
                named = {name: cells[name] for name in self._columns.properties}
                properties = json.dumps({k: _shown(v) for k, v in named.items() if v is not None})
        except RowRefused as refused:
            return HistoryRow(row, None, refused.code, str(refused))
        return HistoryRow(row, event_json(fields, properties))


def _raw_type(kind: pyarrow.DataType, *, is_time: bool) -> pyarrow.DataType | None:
    """Return as what values are read, if not as they are: Python's times have no nanoseconds."""
    if not types.is_timestamp(kind):
        return None
    return pyarrow.int64() if is_time else pyarrow.string()


def _reader(field: str, column: str, kind: pyarrow.DataType, options: ReadingOptions) -> Read:
    """Return what makes a field's text of a cell.

    Raises:
        HistoryError: the column's type cannot be that field exactly.
    """
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_text = types.is_string(kind) or types.is_large_string(kind)
    if field == "time":
        return _time_reader(column, kind, options, is_text=is_text)
    if field == "properties" and is_text:
        return object_text
    if field == "properties" and (types.is_struct(kind) or types.is_map(kind)):
        return lambda cell: json.dumps(_shown(dict(cell)))
    if field == "value" and types.is_decimal(kind):
        return plain
    if field == "value" and types.is_floating(kind):
        return _exact_float
    if field != "properties" and (is_text or types.is_integer(kind)):
        return str
    raise HistoryError("column_type", f"column {column} is of type {kind}: it cannot be {field}")


def _time_reader(
    column: str, kind: pyarrow.DataType, options: ReadingOptions, *, is_text: bool
) -> Read:
    if types.is_timestamp(kind):
        if kind.tz is None and not options.assume_utc:
            raise HistoryError(
                "column_type", f"column {column} has times without an offset; --utc takes them"
            )
        return lambda cell: epoch_time(cell, kind.unit)
    if is_text:
        return lambda cell: text_time(cell, options)
    if types.is_integer(kind) and options.epoch_unit is not None:
        unit = options.epoch_unit
        return lambda cell: epoch_time(cell, unit)
    raise HistoryError(
        "column_type",
        f"column {column} is of type {kind}: a time is a timestamp, a text, or with --time-unit "
        "an integer",
    )


def _exact_float(cell: float) -> str:
    """Return a float that is exactly a quantity: 2.5 is, 0.1 is the float beside it.

    Raises:
        RowRefused: ``value_inexact``
    """
    number = Decimal(cell)
    if number.is_finite() and len(number.as_tuple().digits) <= FLOAT_DIGITS_MAX:
        return plain(number)
    raise RowRefused(
        "value_inexact",
        f"the value is the float {cell!r}, which is exactly no decimal of {FLOAT_DIGITS_MAX} "
        "digits; write the column as decimal",
    )


def _shown(cell: Any) -> Any:
    """Return a property as JSON has it; what JSON lacks, as text."""
    if isinstance(cell, dict):
        return {str(name): _shown(inner) for name, inner in cell.items()}
    if isinstance(cell, list | tuple):
        return [_shown(inner) for inner in cell]
    if isinstance(cell, Decimal):
        return plain(cell) if cell.is_finite() else str(cell)
    if isinstance(cell, bytes):
        return cell.hex()
    if isinstance(cell, datetime | date | time_of_day):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    if isinstance(cell, float) and (cell != cell or cell in (float("inf"), float("-inf"))):
        raise RowRefused("properties_invalid", f"a property is {cell!r}, which JSON does not have")
    return cell
