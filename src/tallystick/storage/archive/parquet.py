"""Archived days as Parquet files, one folder a day; nothing here is ever removed or replaced."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections import OrderedDict
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import HOUR_US, format_instant
from tallystick.domain.quantity import DECIMALS_MAX, add_all
from tallystick.ports.archive import ArchivedPart, HourKey, HourTotal
from tallystick.ports.errors import ArchiveDamaged, ArchiveTaken, ArchiveUnavailable
from tallystick.ports.event_store import StoredEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

ROW_GROUP_EVENTS = 32_768
"""Events that are read together: an hour of one customer lies in one or two such groups."""

GROUPS_MAX = 8
"""Row groups kept in memory, about 7 MB each: a period's boundary hour is read for each meter."""

FILES_MAX = 64
"""Files whose directory of row groups is kept in memory, some 50 kB each."""

_DECIMAL_DIGITS = 27  # 15 before the point, 12 behind it: what a value can have
_TIMESTAMP = pyarrow.timestamp("us", "UTC")
_SCHEMA = pyarrow.schema(
    [
        pyarrow.field("seq", pyarrow.int64(), nullable=False),
        pyarrow.field("source", pyarrow.string(), nullable=False),
        pyarrow.field("id", pyarrow.string(), nullable=False),
        pyarrow.field("type", pyarrow.string(), nullable=False),
        pyarrow.field("customer", pyarrow.string(), nullable=False),
        pyarrow.field("occurred_at", _TIMESTAMP, nullable=False),
        pyarrow.field("received_at", _TIMESTAMP, nullable=False),
        pyarrow.field("value", pyarrow.decimal128(_DECIMAL_DIGITS, DECIMALS_MAX), nullable=False),
        pyarrow.field("properties", pyarrow.binary(), nullable=False),
        pyarrow.field("is_history", pyarrow.bool_(), nullable=False),
    ],
    metadata={"tallystick.format": "1"},
)
_DICTIONARIES = ["source", "type", "customer", "value"]
_ENCODINGS = {
    "seq": "DELTA_BINARY_PACKED",
    "occurred_at": "DELTA_BINARY_PACKED",
    "received_at": "DELTA_BINARY_PACKED",
    "id": "DELTA_BYTE_ARRAY",
}
_LEVELS = {"properties": 9}  # where a higher level saves most, a quarter of the column
_LEVEL = 3
_READ_BYTES = 1 << 20

Table = Any
"""A ``pyarrow.Table``: the library has no types."""


class ParquetArchive:
    """``Archive`` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int], Table] = OrderedDict()
        self._reading = threading.Lock()

    def write(self, day_at: int, number: int, events: Iterable[StoredEvent]) -> ArchivedPart:
        """Write events of one day to a new file; durable, and read back, when it returns."""
        return self.write_table(day_at, number, table_of(events))

    def write_table(self, day_at: int, number: int, table: Table) -> ArchivedPart:
        """Write events that are a table already, in the order of ``table_of``."""
        folder = self._folder / f"day={format_instant(day_at)[:10]}"
        unfinished = folder / f"part-{number:04}.unfinished"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(unfinished) as file:
                _write_table(table, file)
                file.flush()
                os.fsync(file.fileno())
                size_bytes, checksum = _digest(unfinished)
                _compare(table, unfinished)
                name = f"part-{number:04}-{checksum[:16]}.parquet"
                unfinished.rename(folder / name)
            for changed in (folder, self._folder, self._folder.parent):
                _flush(changed)
        except OSError as error:
            raise ArchiveUnavailable(f"{unfinished} could not be written: {error}") from error
        bounds = pyarrow.compute.min_max(table["seq"]).as_py()
        return ArchivedPart(
            day_at,
            number,
            f"{folder.name}/{name}",
            table.num_rows,
            bounds["min"],
            bounds["max"],
            size_bytes,
            checksum,
        )

    def events(self, part: ArchivedPart) -> Iterator[StoredEvent]:
        """Return the part's events in the order of ``seq``, as they were sent."""
        table = self._read(part, lambda file: file.parquet.read())
        ordered = table.sort_by("seq")
        for batch in ordered.to_batches(max_chunksize=ROW_GROUP_EVENTS):
            yield from _events(batch)

    def hour(self, part: ArchivedPart, key: HourKey) -> list[StoredEvent]:
        """Return the part's events of an hour, type and customer."""
        found: list[StoredEvent] = self._read(part, lambda file: self._hour(file, key))
        return found

    def find(self, part: ArchivedPart, seq: int) -> StoredEvent | None:
        """Return the part's event of this ``seq``."""

        def find(file: _File) -> StoredEvent | None:
            places = file.parquet.read(columns=["seq"])["seq"]
            place = pyarrow.compute.index(places, seq).as_py()
            if place < 0:
                return None
            group, row = file.group_of_row(place)
            return next(_events(self._group(file, group).slice(row, 1)))

        found: StoredEvent | None = self._read(part, find)
        return found

    def seqs(self, part: ArchivedPart) -> list[int]:
        """Return the ``seq`` of each of the part's events, in order."""
        table = self._read(part, lambda file: file.parquet.read(columns=["seq"]))
        found: list[int] = table.sort_by("seq")["seq"].to_pylist()
        return found

    def totals(
        self, part: ArchivedPart, corrected: Mapping[int, Decimal | None]
    ) -> dict[HourKey, HourTotal]:
        """Return what the part's events count for, hour by hour."""
        columns = ["seq", "type", "customer", "occurred_at", "value"]
        table = self._read(part, lambda file: file.parquet.read(columns=columns))
        return _totals(table, corrected)

    def check(self, part: ArchivedPart) -> None:
        """Read all of the file, and compare its checksum, size and number of events."""
        path = self._folder / part.file
        try:
            size_bytes, checksum = _digest(path)
        except OSError as error:
            raise ArchiveDamaged(f"{path} cannot be read: {error}") from error
        if size_bytes != part.size_bytes:
            raise ArchiveDamaged(f"{path} has {size_bytes} bytes; {part.size_bytes} were written")
        if checksum != part.checksum:
            raise ArchiveDamaged(
                f"{path} was altered: its SHA-256 is {checksum}, that of what was written "
                f"{part.checksum}"
            )
        table = self._read(part, lambda file: file.parquet.read())
        if table.num_rows != part.event_count:
            raise ArchiveDamaged(
                f"{path} holds {table.num_rows} events; {part.event_count} were written"
            )

    def _hour(self, file: _File, key: HourKey) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        for group in file.groups_of(key.customer):
            table = self._group(file, group)
            chosen = table.filter(_is_of_hour(table, key))
            found += _events(chosen)
        return found

    def _group(self, file: _File, group: int) -> Table:
        key = (file.name, group)
        table = self._groups.pop(key, None)
        if table is None:
            table = file.parquet.read_row_group(group)
        self._groups[key] = table
        while len(self._groups) > GROUPS_MAX:
            self._groups.popitem(last=False)
        return table

    def _read(self, part: ArchivedPart, read: Callable[[_File], Any]) -> Any:
        """Read something of a part, one thread at a time; files stay open while they are in use."""
        try:
            with self._reading:
                file = self._files.pop(part.file, None)
                if file is None:
                    file = _File(self._folder / part.file, part.file)
                self._files[part.file] = file
                while len(self._files) > FILES_MAX:
                    self._files.popitem(last=False)
                return read(file)
        except (OSError, pyarrow.ArrowException) as error:
            raise ArchiveDamaged(
                f"{self._folder / part.file}, with {part.event_count} events of "
                f"{format_instant(part.day_at)[:10]}, cannot be read: {error}"
            ) from error


class _File:
    """A file, and which customers each of its row groups holds: they are in order."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.parquet = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
        metadata = self.parquet.metadata
        column = _SCHEMA.get_field_index("customer")
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        statistics = [group.column(column).statistics for group in groups]
        self._bounds = [(each.min, each.max) for each in statistics]
        self._rows = [group.num_rows for group in groups]

    def groups_of(self, customer: str) -> list[int]:
        """Return the row groups that may hold a customer's events."""
        return [
            number for number, (first, last) in enumerate(self._bounds) if first <= customer <= last
        ]

    def group_of_row(self, row: int) -> tuple[int, int]:
        """Return the row group of a row of the file, and its place in there."""
        for number, count in enumerate(self._rows):
            if row < count:
                return number, row
            row -= count
        raise IndexError(row)


def table_of(events: Iterable[StoredEvent]) -> Table:
    """Return events as a table, in the order in which they are read: a customer's together."""
    batches = []
    rows: list[tuple[Any, ...]] = []
    for stored in events:
        event = stored.event
        rows.append(
            (
                stored.seq,
                event.source,
                event.id,
                event.type,
                event.customer,
                event.occurred_at,
                stored.received_at,
                event.value,
                event.properties,
                stored.is_history,
            )
        )
        if len(rows) == ROW_GROUP_EVENTS:
            batches.append(_batch(rows))
            rows = []
    if rows:
        batches.append(_batch(rows))
    table = pyarrow.Table.from_batches(batches, _SCHEMA)
    order = [("customer", "ascending"), ("occurred_at", "ascending"), ("seq", "ascending")]
    return table.sort_by(order).combine_chunks()


def _batch(rows: list[tuple[Any, ...]]) -> Any:
    columns = zip(*rows, strict=True)
    arrays = [
        pyarrow.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)
    ]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Return an empty file that no other run writes; what a killed one left there is cleared.

    Raises:
        ArchiveTaken: another run writes it now.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveTaken(f"{path} is being written by another run") from None
        file.truncate()
        yield file


def _write_table(table: Table, file: BinaryIO) -> None:
    pyarrow.parquet.write_table(
        table,
        file,
        row_group_size=ROW_GROUP_EVENTS,
        compression="zstd",
        compression_level={name: _LEVELS.get(name, _LEVEL) for name in _SCHEMA.names},
        use_dictionary=_DICTIONARIES,
        column_encoding=_ENCODINGS,
        write_page_checksum=True,
        store_schema=True,
    )


def _compare(table: Table, path: Path) -> None:
    """Read a file that was just written, and hold it against what it was made of."""
    written = pyarrow.parquet.read_table(path, page_checksum_verification=True)
    if not written.equals(table):
        raise ArchiveDamaged(f"{path} reads otherwise than it was written; nothing was archived")


def _digest(path: Path) -> tuple[int, str]:
    """Return the size of a file and the SHA-256 of its bytes."""
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size_bytes += len(block)
    return size_bytes, digest.hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_of_hour(table: Table, key: HourKey) -> Any:
    compute = pyarrow.compute
    start = pyarrow.scalar(key.hour_at, pyarrow.int64()).cast(_TIMESTAMP)
    end = pyarrow.scalar(key.hour_at + HOUR_US, pyarrow.int64()).cast(_TIMESTAMP)
    conditions = [
        compute.equal(table["customer"], key.customer),
        compute.equal(table["type"], key.event_type),
        compute.greater_equal(table["occurred_at"], start),
        compute.less(table["occurred_at"], end),
    ]
    chosen = conditions[0]
    for condition in conditions[1:]:
        chosen = compute.and_(chosen, condition)
    return chosen


def _events(rows: Table) -> Iterator[StoredEvent]:
    columns = {name: rows.column(name) for name in rows.schema.names}
    for name in ("occurred_at", "received_at"):
        columns[name] = columns[name].cast(pyarrow.int64())
    for seq, source, id_, type_, customer, at, received_at, value, properties, is_history in zip(
        *(columns[name].to_pylist() for name in _SCHEMA.names), strict=True
    ):
        event = UsageEvent(source, id_, type_, customer, at, _plain_value(value), properties)
        yield StoredEvent(seq, received_at, event, is_history=is_history)


def _plain_value(value: Decimal) -> Decimal:
    """Return a value as the database holds it: the file writes all twelve places."""
    whole = int(value)
    return Decimal(whole) if value == whole else value.normalize()


def _totals(table: Table, corrected: Mapping[int, Decimal | None]) -> dict[HourKey, HourTotal]:
    hours = pyarrow.compute.floor_temporal(table["occurred_at"], unit="hour").cast(pyarrow.int64())
    plain = table.append_column("hour", hours)
    known = pyarrow.array(list(corrected), pyarrow.int64())
    is_corrected = pyarrow.compute.is_in(plain["seq"], value_set=known)
    grouped = (
        plain.filter(pyarrow.compute.invert(is_corrected))
        .group_by(["hour", "type", "customer"])
        .aggregate([("value", "sum"), ("value", "count")])
    )
    totals = {
        HourKey(*key): HourTotal(count, total)
        for *key, total, count in zip(
            *(
                grouped[name].to_pylist()
                for name in ("hour", "type", "customer", "value_sum", "value_count")
            ),
            strict=True,
        )
    }
    others = plain.filter(is_corrected)
    names = ("hour", "type", "customer", "seq")
    for *key_fields, seq in zip(*(others[name].to_pylist() for name in names), strict=True):
        key = HourKey(*key_fields)
        value = corrected[seq]
        count, total = totals.get(key, HourTotal(0, Decimal(0)))
        if value is not None:
            count, total = count + 1, add_all((total, value))
        totals[key] = HourTotal(count, total)
    return totals
