"""Tables of past usage: which column is which field of an event, and CSV."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

from tallystick.client.history_rows import (
    HistoryError,
    HistoryRow,
    ReadingOptions,
    RowRefused,
    event_json,
    object_text,
    text_time,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FIELDS = ("id", "source", "type", "customer", "time", "value", "properties")
"""Fields of an event; a column of such a name is that field unless another is said to be."""

CELL_CHARS_MAX = 1 << 20
"""Characters of a cell: a quote that is never closed must not read a whole file as one."""

ALL = "*"


class EventColumns(NamedTuple):
    """Which columns become what; ``fields`` by field, ``properties`` by their own names."""

    fields: dict[str, str]
    properties: tuple[str, ...]

    @property
    def read(self) -> list[str]:
        """Every column that is read."""
        return [*self.fields.values(), *self.properties]


def columns_of(available: Sequence[str], options: ReadingOptions) -> EventColumns:
    """Return what becomes of a table's columns.

    Each must have a place: one that nobody named may be a misspelt ``value``, and its event would
    count for 1.

    Raises:
        HistoryError: a column is named twice, is not there, or has no place; or a field that an
            event needs has none.
    """
    repeated = sorted({name for name in available if available.count(name) > 1})
    if repeated:
        raise HistoryError("columns_repeated", f"columns come twice: {', '.join(repeated)}")
    fields = {name: name for name in FIELDS if name in available}
    for field, column in options.columns:
        if field not in FIELDS:
            raise HistoryError(
                "unknown_field", f"{field!r} is not a field of an event: {', '.join(FIELDS)}"
            )
        fields[field] = column
    named = [*fields.values(), *options.properties, *options.ignored]
    missing = [name for name in named if name not in available and name != ALL]
    if missing:
        raise HistoryError(
            "unknown_column",
            f"there is no column {', '.join(missing)}; there are {', '.join(available)}",
        )
    rest = [name for name in available if name not in fields.values()]
    everything = ALL in options.properties
    properties = [
        name
        for name in rest
        if name in options.properties or (everything and name not in options.ignored)
    ]
    left = [name for name in rest if name not in properties and name not in options.ignored]
    if left and ALL not in options.ignored:
        raise HistoryError(
            "columns_left",
            f"columns without a place: {', '.join(left)}. Say --column FIELD=COLUMN, --property "
            "COLUMN or --ignore COLUMN; '*' is all that are left",
        )
    _check_fields(fields, properties, options)
    return EventColumns(fields, tuple(properties))


def _check_fields(fields: dict[str, str], properties: list[str], options: ReadingOptions) -> None:
    for field, given in (("type", options.event_type), ("source", options.source)):
        if field in fields and given is not None:
            raise HistoryError("field_twice", f"the {field} is given, and a column holds it too")
    lacking = [field for field in ("customer", "time") if field not in fields]
    if "type" not in fields and options.event_type is None:
        lacking.append("type")
    if lacking:
        raise HistoryError(
            "field_missing",
            f"no column holds the {', '.join(lacking)}: say --column FIELD=COLUMN"
            + (", or --event-type" if "type" in lacking else ""),
        )
    if "properties" in fields and properties:
        raise HistoryError(
            "field_twice", "a column holds the properties; others cannot be properties too"
        )


def given_fields(options: ReadingOptions) -> dict[str, str]:
    """Return the fields that are the same in all rows."""
    given = {"type": options.event_type, "source": options.source}
    return {field: text for field, text in given.items() if text is not None}


def csv_rows(lines: Iterable[str], digest: str, options: ReadingOptions) -> Iterator[HistoryRow]:
    """Return a CSV file's rows as events; its first line names the columns.

    Raises:
        HistoryError: there is no such line, or the columns do not fit.
    """
    csv.field_size_limit(min(CELL_CHARS_MAX, sys.maxsize))
    reader = csv.reader(lines, delimiter=options.delimiter, quotechar=options.quote, strict=True)
    header = next(reader, None)
    if header is None:
        raise HistoryError("no_header", "the file is empty; its first line names the columns")
    columns = columns_of([name.strip() for name in header], options)
    making = _CsvEvents(header, columns, digest, options)
    while True:
        row = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # after a broken quote nobody knows where the next row begins
            raise HistoryError("invalid_csv", f"line {row}: {error}") from None
        if cells:
            yield making.row(row, cells)


class _CsvEvents:
    def __init__(
        self, header: list[str], columns: EventColumns, digest: str, options: ReadingOptions
    ) -> None:
        places = {name.strip(): place for place, name in enumerate(header)}
        self._width = len(header)
        self._fields = {field: places[name] for field, name in columns.fields.items()}
        self._properties = [(name, places[name]) for name in columns.properties]
        self._given = given_fields(options)
        self._digest = digest
        self._options = options

    def row(self, row: int, cells: list[str]) -> HistoryRow:
        if len(cells) != self._width:
            return HistoryRow(
                row,
                None,
                "unreadable_row",
                f"the row has {len(cells)} cells and the first line {self._width}",
            )
        fields = {"id": f"{self._digest}-{row}", **self._given}
        fields.update((field, cells[place]) for field, place in self._fields.items())
        try:
            fields["time"] = text_time(fields["time"], self._options)
            properties = self._properties_of(fields.pop("properties", None), cells)
        except RowRefused as refused:
            return HistoryRow(row, None, refused.code, str(refused))
        return HistoryRow(row, event_json(fields, properties))

    def _properties_of(self, text: str | None, cells: list[str]) -> str | None:
        """Return the properties' JSON: a column's own, or the other columns' texts."""
        if text is not None:
            return object_text(text) if text.strip() else None
        if not self._properties:
            return None
        return json.dumps({name: cells[place] for name, place in self._properties if cells[place]})
