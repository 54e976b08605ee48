"""What a check of the invariants reads, from one SQLite snapshot."""

from __future__ import annotations

from contextlib import contextmanager
from heapq import merge
from typing import TYPE_CHECKING

from tallystick.domain.aggregation import RollupState
from tallystick.domain.instants import DAY_US, format_instant
from tallystick.domain.periods import hour_of
from tallystick.domain.quantity import from_parts
from tallystick.ports.outbox import Reported
from tallystick.ports.verification import Cell, ReportedPeriod
from tallystick.storage.details import detail_of
from tallystick.storage.report_rows import report_of
from tallystick.storage.selections import Selections
from tallystick.storage.sqlite.archived_events import archived_events, days_under_way
from tallystick.storage.sqlite.day_rollups import faults_of_days
from tallystick.storage.sqlite.events import corrected_event
from tallystick.storage.sqlite.history import history_cells
from tallystick.storage.sqlite.identities import IdentityIndex, identity_key
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from tallystick.domain.events import UsageEvent
    from tallystick.domain.reports import UsageReport
    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("verification")
_ALL_REPORTS = statements("outbox")["all_reports"]


class SqliteSnapshotReader:
    """``SnapshotReader`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    @contextmanager
    def snapshot(self) -> Iterator[_SqliteSnapshot]:
        """Return the present as a snapshot, valid inside the block."""
        with self._database.read() as connection:
            yield _SqliteSnapshot(connection)


class _SqliteSnapshot:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        (self._merged_seq,) = connection.execute(_SQL["merged_seq"]).fetchone()
        self._index: IdentityIndex | None = None

    def events(self) -> Iterator[StoredEvent]:
        yield from archived_events(self._connection)
        for row in self._connection.execute(_SQL["all_events"]):
            yield corrected_event(row)

    def places(self, events: Sequence[UsageEvent]) -> list[int | None]:
        if self._index is None:
            self._index = IdentityIndex()
            self._index.load(self._connection)
        keys = [identity_key(event.source, event.id) for event in events]
        found = self._index.find(self._connection, keys)
        return [found.get(key) for key in keys]

    def faults(self) -> Iterator[str]:
        identities, events = self._connection.execute(
            _SQL["count_merged"], {"merged_seq": self._merged_seq}
        ).fetchone()
        if identities != events:
            yield f"{identities} identities are kept for {events} events"
        yield from self._chain_faults()
        yield from faults_of_days(self._connection)

    def _chain_faults(self) -> Iterator[str]:
        """Check that each hour's chain links all its events: usage is folded along it."""
        selections = Selections(self._connection.execute(_SQL["all_selections"]))
        plain_ids = {kind: found.plain_id for kind, found in selections.by_type.items()}
        ends: dict[tuple[int, str, int], int] = {}
        moving = days_under_way(self._connection)
        beside: list[tuple[int, int | None, str, str, int]] = []
        for stored in archived_events(self._connection):
            event = stored.event
            if event.occurred_at - event.occurred_at % DAY_US in moving:
                link = (stored.seq, None, event.type, event.customer, event.occurred_at)
                beside.append(link)
                continue
            key = (hour_of(event.occurred_at), event.customer, plain_ids.get(event.type, 0))
            ends[key] = max(stored.seq, ends.get(key, 0))  # where the chain in the database goes on
        links = self._connection.execute(_SQL["all_links"])
        for seq, previous_seq, type_, customer, at in merge(links, sorted(beside)):
            key = (hour_of(at), customer, plain_ids.get(type_, 0))
            if previous_seq not in (None, ends.get(key, 0)):
                yield f"event {seq} follows {previous_seq} in its hour, not {ends.get(key, 0)}"
            ends[key] = seq
        kept = {
            (hour_at, customer, selection_id): last_seq
            for hour_at, customer, last_seq, selection_id in self._connection.execute(
                _SQL["all_chains"]
            )
        }
        for key in ends.keys() | kept.keys():
            if ends.get(key) != kept.get(key):
                yield (
                    f"hour {format_instant(key[0])}, customer {key[1]}: its events are kept from "
                    f"{kept.get(key)} back, and the last is {ends.get(key)}"
                )

    def cells(self) -> Iterator[tuple[Cell, RollupState]]:
        selections = Selections(self._connection.execute(_SQL["all_selections"])).by_id
        for hour_at, selection_id, customer, dimension, *state in self._connection.execute(
            _SQL["all_cells"]
        ):
            selection = selections[selection_id]
            yield (
                Cell(hour_at, selection, customer, dimension),
                RollupState(state[0], state[1], state[2], detail_of(selection.fold, state[3])),
            )
        for (hour_at, selection_id, customer), folded in history_cells(
            self._connection, selections
        ):
            yield Cell(hour_at, selections[selection_id], customer, "", is_history=True), folded

    def reports(self) -> Iterator[UsageReport]:
        for row in self._connection.execute(_ALL_REPORTS, {"customer": None}):
            yield report_of(row)

    def totals(self) -> Iterator[tuple[ReportedPeriod, Reported]]:
        for *key, whole, pico, sequence in self._connection.execute(_SQL["all_totals"]):
            yield ReportedPeriod(*key), Reported(from_parts(whole, pico), sequence)

    def due(self) -> set[tuple[str, str]]:
        return set(self._connection.execute(_SQL["all_due"]))
