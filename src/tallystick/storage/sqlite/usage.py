"""Measured usage in SQLite: whole days and hours from rollups, ragged ends from the events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.aggregation import (
    EMPTY,
    Latest,
    Level,
    RollupState,
    fold_points,
)
from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.levels import is_history_in
from tallystick.domain.meters import Fold, Selection
from tallystick.domain.periods import Period, cut_at_hours, hour_of
from tallystick.domain.quantity import PICO
from tallystick.ports.archive import HourKey
from tallystick.ports.event_store import UsageAndHistory, UsageCell
from tallystick.storage.day_rollups import Part, Run, runs_of, whole_days
from tallystick.storage.details import detail_of
from tallystick.storage.sqlite.archived_events import archived_hour
from tallystick.storage.sqlite.day_rollups import day_parts, days_total, latest_day, rolled_days
from tallystick.storage.sqlite.rollups import hour_points
from tallystick.storage.sqlite.statements import statements
from tallystick.storage.usage_reading import group_by_group, hour_by_hour, measured

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from tallystick.domain.meters import Meter
    from tallystick.storage.sqlite.database import SqliteDatabase

LOOKED_BACK_US = 32 * DAY_US
"""How much is looked through at once for the last usage before an instant."""

_HALF_BITS = 32
_SQL = statements("usage")
_HISTORY_SQL = statements("history")


class _Rollups(NamedTuple):
    """The statements that read one set of rollups."""

    span: str
    hour_cells: str
    latest_cell_before: str


_OF_ALL = _Rollups(*(_SQL[name] for name in _Rollups._fields))
_OF_HISTORY = _Rollups(*(_HISTORY_SQL[name] for name in _Rollups._fields))


class SqliteUsageReader:
    """``UsageReader`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def usage(self, meter: Meter, customer: str, period: Period) -> RollupState:
        """Return the state of all stored events of the meter and customer in the period."""
        with self._database.read() as connection:
            return measured(_TotalReading(connection, meter.selection, customer), meter, period)

    def usage_and_history(self, meter: Meter, customer: str, period: Period) -> UsageAndHistory:
        """Return the same beside the state of history alone, both from one snapshot."""
        with self._database.read() as connection:
            return UsageAndHistory(
                measured(_TotalReading(connection, meter.selection, customer), meter, period),
                measured(_HistoryReading(connection, meter.selection, customer), meter, period),
            )

    def hours(self, meter: Meter, customer: str, period: Period) -> list[UsageCell]:
        """Return the same by UTC hour, hours without events left out, oldest first."""
        with self._database.read() as connection:
            return hour_by_hour(_Reading(connection, meter.selection, customer), meter, period)

    def breakdown(self, meter: Meter, customer: str, period: Period) -> dict[str, RollupState]:
        """Return the state of each group of the meter's, by its values as a JSON array."""
        if meter.breakdown is None:
            return {}
        with self._database.read() as connection:
            return group_by_group(_Reading(connection, meter.breakdown, customer), period)

    def customers(self, prefix: str = "") -> Iterator[str]:
        """Return every customer that has usage, in order."""
        last = prefix
        while True:
            with self._database.read() as connection:
                (found,) = connection.execute(_SQL["next_customer"], (last,)).fetchone()
            if found is None or not found.startswith(prefix):
                return
            yield found
            last = found


class _Reading:
    """Reads one selection of one customer, in one snapshot."""

    _rollups = _OF_ALL
    _only_history = False

    def __init__(self, connection: sqlite3.Connection, selection: Selection, customer: str) -> None:
        self._connection = connection
        self._selection = selection
        self._customer = customer
        selection_id = self._id_of(selection)
        self._of = {"customer": customer, "selection_id": selection_id}
        span = connection.execute(self._rollups.span, (customer, selection_id)).fetchone()
        self._span = Period(span[0], span[1] + DAY_US) if span else None

    def hours(self, period: Period) -> list[Part]:
        """Return hour, dimension and state of what the period has, oldest first."""
        return self._read(period, self._stored)

    def parts(self, period: Period) -> list[Part]:
        """Return the same, days that are rolled up as one."""
        return self._read(period, self._rolled_up)

    def _read(self, period: Period, whole: Callable[[Period], list[Part]]) -> list[Part]:
        """Fold the ends of a period from events, and read its whole hours."""
        if self._span is None or not self._span.overlaps(period):
            return []
        known = Period(
            max(period.start_at, self._span.start_at), min(period.end_at, self._span.end_at)
        )
        cut = cut_at_hours(Period(known.start_at, self._end_of_usage(known)))
        found = [row for end in cut.ends for row in self._folded(end)]
        if cut.whole_hours:
            found += whole(cut.whole_hours)
        return sorted(found, key=lambda row: row[:2])

    def _end_of_usage(self, known: Period) -> int:
        """Return where the last hour ends if none of its events lies beyond the period: its rollup
        then is all that the period has of it, and no event need be folded.
        """
        hour_at = hour_of(known.end_at)
        if hour_at == known.end_at or hour_at < known.start_at:
            return known.end_at
        plain_id = self._id_of(Selection(self._selection.event_type))
        row = self._connection.execute(
            _SQL["hour_end"], (hour_at, plain_id, self._customer)
        ).fetchone()
        return hour_at + HOUR_US if row and row[1] < known.end_at else known.end_at

    def before(self, at: int) -> RollupState:
        """Return the state of the last hour with events before the instant, up to it."""
        if self._span is None or self._span.start_at >= at:
            return EMPTY
        upto = min(hour_of(at), self._span.end_at)
        if upto == hour_of(at) < at:
            ragged = [state for _, _, state in self._folded(Period(upto, at))]
            if ragged:
                return ragged[0]
        while upto > self._span.start_at:
            stretch = Period(max(self._span.start_at, upto - LOOKED_BACK_US), upto)
            for run in reversed(self._runs(stretch)):
                state = self._latest_in(run)
                if state is not None:
                    return state
            upto = stretch.start_at
        return EMPTY

    def _latest_in(self, run: Run) -> RollupState | None:
        """Return the last day or hour of some that has events."""
        if run.is_rolled:
            return latest_day(self._connection, self._of, run.period, self._selection.fold)
        row = self._connection.execute(
            self._rollups.latest_cell_before, self._rows_in(run.period)
        ).fetchone()
        return _state(self._selection.fold, row) if row else None

    def _runs(self, hours: Period) -> list[Run]:
        """Cut whole hours where days are rolled up and where they are not."""
        days = whole_days(hours)
        return runs_of(hours, self._rolled_days(days) if days else ())

    def _rolled_days(self, days: Period) -> Sequence[int]:
        return rolled_days(self._connection, self._of, days)

    def _rolled_up(self, hours: Period) -> list[Part]:
        found: list[Part] = []
        for run in self._runs(hours):
            found += self._days(run.period) if run.is_rolled else self._stored(run.period)
        return found

    def _days(self, days: Period) -> list[Part]:
        return day_parts(self._connection, self._of, days, self._selection.fold)

    def _stored(self, hours: Period) -> list[Part]:
        rows = self._connection.execute(self._rollups.hour_cells, self._rows_in(hours))
        fold = self._selection.fold
        return [(row[0], row[1], _state(fold, row[2:])) for row in rows]

    def _rows_in(self, hours: Period) -> dict[str, Any]:
        return {**self._of, "from_at": hours.start_at, "to_at": hours.end_at}

    def _folded(self, part: Period) -> list[Part]:
        """Fold the events of a part of one or two hours."""
        plain_id = self._id_of(Selection(self._selection.event_type))
        groups: dict[tuple[int, str], RollupState] = {}
        for hour_at in range(hour_of(part.start_at), part.end_at, HOUR_US):
            row = self._connection.execute(
                _SQL["hour_end"], (hour_at, plain_id, self._customer)
            ).fetchone()
            if row is None:
                continue
            for dimension, points in hour_points(
                self._connection,
                (hour_at, self._customer),
                row[0],
                self._selection,
                only_history=self._only_history,
            ).items():
                inside = [point for point in points if point.at in part]
                if inside:
                    groups[hour_at, dimension] = fold_points(inside, self._selection.fold)
        return [(*key, state) for key, state in groups.items()]

    def _id_of(self, selection: Selection) -> int:
        row = self._connection.execute(_SQL["selection_id"], (selection.definition,)).fetchone()
        return int(row[0]) if row else 0


class _TotalReading(_Reading):
    """Reads what a period comes to: the database adds up what it has where nothing but sums is
    kept.
    """

    def _days(self, days: Period) -> list[Part]:
        """Return the days as if they were one, if they can be added up."""
        if self._selection.fold is not Fold.SUM:
            return super()._days(days)
        total = days_total(self._connection, self._of, days)
        return [(days.start_at, "", total)] if total.event_count else []

    def _stored(self, hours: Period) -> list[Part]:
        """Return the whole hours as if they were one, if they can be added up."""
        if self._selection.fold is not Fold.SUM:
            return super()._stored(hours)
        count, high, low, pico = self._connection.execute(
            _SQL["hours_total"], self._rows_in(hours)
        ).fetchone()
        if not count:
            return []
        carry, pico = divmod(pico, PICO)
        whole = (high << _HALF_BITS) + low + carry
        return [(hours.start_at, "", RollupState(count, whole, pico))]


class _HistoryReading(_Reading):
    """Reads the history of one selection and customer alone."""

    _rollups = _OF_HISTORY
    _only_history = True

    def _rolled_days(self, _: Period) -> Sequence[int]:
        return ()  # history is kept by hours alone

    def before(self, at: int) -> RollupState:
        """Return the same of history that counts as history in a period that begins then."""
        state = super().before(at)
        latest = state.detail.last if isinstance(state.detail, Level) else state.detail
        if not isinstance(latest, Latest):
            return state
        return state if is_history_in(at, self._received_at(latest)) else EMPTY

    def _received_at(self, latest: Latest) -> int:
        row = self._connection.execute(_HISTORY_SQL["received_at"], (latest.seq,)).fetchone()
        if row is not None:
            return int(row[0])
        key = HourKey(hour_of(latest.at), self._selection.event_type, self._customer)
        archived = archived_hour(self._connection, key)
        return next(stored.received_at for stored in archived if stored.seq == latest.seq)


def _state(fold: Fold, row: tuple[Any, ...]) -> RollupState:
    event_count, sum_whole, sum_pico, detail = row
    return RollupState(event_count, sum_whole, sum_pico, detail_of(fold, detail))
