"""Measured usage in PostgreSQL: whole days and hours from rollups, ragged ends from the events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.aggregation import EMPTY, Latest, Level, RollupState, fold_points
from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.levels import is_history_in
from tallystick.domain.meters import Fold
from tallystick.domain.periods import Period, cut_at_hours, hour_of
from tallystick.domain.quantity import PICO
from tallystick.ports.event_store import UsageAndHistory, UsageCell
from tallystick.storage.day_rollups import Part, runs_of, whole_days
from tallystick.storage.postgres.archived_events import archived_event
from tallystick.storage.postgres.day_rollups import part_state, rolled_days
from tallystick.storage.postgres.rollups import cell_state, hour_points
from tallystick.storage.postgres.statements import statements
from tallystick.storage.usage_reading import group_by_group, hour_by_hour, measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tallystick.domain.aggregation import Point
    from tallystick.domain.meters import Meter, Selection
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("usage")


class PostgresUsageReader:
    """``UsageReader`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._selection_ids: dict[str, int] = {}

    def usage(self, meter: Meter, customer: str, period: Period) -> RollupState:
        """Return the state of all stored events of the meter and customer in the period."""
        with self._database.read() as connection:
            return measured(
                _TotalReading(connection, meter.selection, customer, self._selection_ids),
                meter,
                period,
            )

    def usage_and_history(self, meter: Meter, customer: str, period: Period) -> UsageAndHistory:
        """Return the same beside the state of history alone, both from one snapshot."""
        ids = self._selection_ids
        with self._database.read() as connection:
            usage = _TotalReading(connection, meter.selection, customer, ids)
            history = _HistoryReading(connection, meter.selection, customer, ids)
            return UsageAndHistory(measured(usage, meter, period), measured(history, meter, period))

    def hours(self, meter: Meter, customer: str, period: Period) -> list[UsageCell]:
        """Return the same by UTC hour, hours without events left out, oldest first."""
        with self._database.read() as connection:
            return hour_by_hour(
                _Reading(connection, meter.selection, customer, self._selection_ids), meter, period
            )

    def breakdown(self, meter: Meter, customer: str, period: Period) -> dict[str, RollupState]:
        """Return the state of each group of the meter's, by its values as a JSON array."""
        if meter.breakdown is None:
            return {}
        with self._database.read() as connection:
            return group_by_group(
                _Reading(connection, meter.breakdown, customer, self._selection_ids), period
            )

    def customers(self, prefix: str = "") -> Iterator[str]:
        """Return every customer that has usage, in order."""
        last = prefix
        while True:
            with self._database.read() as connection:
                (found,) = connection.execute(_SQL["next_customer"], (last,)).fetchone() or (None,)
            if found is None or not found.startswith(prefix):
                return
            yield found
            last = found


class _Reading:
    """Reads one selection of one customer, in one snapshot; ``ids`` are of selections that were
    asked for before, which never change.
    """

    _is_history = False

    def __init__(
        self, connection: Connection, selection: Selection, customer: str, ids: dict[str, int]
    ) -> None:
        self._connection = connection
        self._selection = selection
        definition = selection.definition
        if definition not in ids:
            row = connection.execute(_SQL["selection_id"], (definition,)).fetchone()
            if row is not None:
                ids[definition] = row[0]
        self._rows_of: dict[str, Any] = {
            "customer": customer,
            "selection_id": ids.get(definition, 0),
            "is_history": self._is_history,
        }

    def hours(self, period: Period) -> list[Part]:
        """Return hour, dimension and state of what the period has, oldest first."""
        return self._read(period, self._stored)

    def parts(self, period: Period) -> list[Part]:
        """Return the same, days that are rolled up as one."""
        return self._read(period, self._rolled_up)

    def _read(self, period: Period, whole: Callable[[Period], list[Part]]) -> list[Part]:
        """Fold the ends of a period from events, and read its whole hours."""
        cut = cut_at_hours(Period(period.start_at, self._end_of_usage(period)))
        found = [row for end in cut.ends for row in self._folded(end)]
        if cut.whole_hours:
            found += whole(cut.whole_hours)
        return sorted(found, key=lambda row: row[:2])

    def _end_of_usage(self, period: Period) -> int:
        """Return where the last hour ends if the customer has no event in it beyond the period: its
        rollup then is all that the period has of it, and no event need be folded.
        """
        hour_at = hour_of(period.end_at)
        if hour_at == period.end_at or hour_at < period.start_at:
            return period.end_at
        beyond = {
            "customer": self._rows_of["customer"],
            "from_at": period.end_at,
            "to_at": hour_at + HOUR_US,
            "day_at": hour_at - hour_at % DAY_US,
        }
        row = self._connection.execute(_SQL["lies_beyond"], beyond).fetchone()
        return hour_at + HOUR_US if row == (False,) else period.end_at

    def before(self, at: int) -> RollupState:
        """Return the state of the last hour with events before the instant, up to it."""
        hour_at = hour_of(at)
        if hour_at < at:
            ragged = self._folded(Period(hour_at, at))
            if ragged:
                return ragged[0][2]
        row = self._connection.execute(
            _SQL["latest_cell_before"], {**self._rows_of, "to_at": hour_at}
        ).fetchone()
        return cell_state(self._selection.fold, row) if row else EMPTY

    def _rolled_up(self, hours: Period) -> list[Part]:
        """Read days where they are rolled up, and hours where not: all of it at once."""
        days = whole_days(hours)
        rolled = self._rolled_days(days) if days else []
        if not rolled:
            return self._stored(hours)
        gaps = [run.period for run in runs_of(hours, rolled) if not run.is_rolled]
        return self._kept_in(
            {
                **self._rows_of,
                "days": rolled,
                "from_at": [gap.start_at for gap in gaps],
                "to_at": [gap.end_at for gap in gaps],
            }
        )

    def _rolled_days(self, days: Period) -> list[int]:
        return rolled_days(self._connection, self._rows_of, days)

    def _kept_in(self, days_and_gaps: dict[str, Any]) -> list[Part]:
        rows = self._connection.execute(_SQL["part_cells"], days_and_gaps)
        return [(row[0], row[1], part_state(self._selection.fold, row[2:])) for row in rows]

    def _stored(self, hours: Period) -> list[Part]:
        rows = self._connection.execute(
            _SQL["hour_cells"],
            {**self._rows_of, "from_at": hours.start_at, "to_at": hours.end_at},
        )
        return [(row[0], row[1], cell_state(self._selection.fold, row[2:])) for row in rows]

    def _folded(self, part: Period) -> list[Part]:
        """Fold the events of a part of one or two hours."""
        groups = hour_points(
            self._connection,
            self._selection,
            self._rows_of["customer"],
            part,
            is_history=self._is_history,
        )
        by_hour: dict[tuple[int, str], list[Point]] = {}
        for dimension, points in groups.items():
            for point in points:
                by_hour.setdefault((hour_of(point.at), dimension), []).append(point)
        fold = self._selection.fold
        return [(*key, fold_points(points, fold)) for key, points in by_hour.items()]


class _TotalReading(_Reading):
    """Reads what a period comes to: the database adds up what it has where nothing but sums is
    kept.
    """

    def _kept_in(self, days_and_gaps: dict[str, Any]) -> list[Part]:
        """Return it as if it were one, if it can be added up."""
        if self._selection.fold is not Fold.SUM:
            return super()._kept_in(days_and_gaps)
        row = self._connection.execute(_SQL["parts_total"], days_and_gaps).fetchone()
        total = part_state(Fold.SUM, (*(row or (0, 0, 0)), None))
        return [(days_and_gaps["days"][0], "", total)] if total.event_count else []

    def _stored(self, hours: Period) -> list[Part]:
        """Return the whole hours as if they were one, if they can be added up."""
        if self._selection.fold is not Fold.SUM:
            return super()._stored(hours)
        row = self._connection.execute(
            _SQL["hours_total"],
            {**self._rows_of, "from_at": hours.start_at, "to_at": hours.end_at},
        ).fetchone()
        count, whole, pico = map(int, row or (0, 0, 0))
        if not count:
            return []
        carry, pico = divmod(pico, PICO)
        return [(hours.start_at, "", RollupState(count, whole + carry, pico))]


class _HistoryReading(_TotalReading):
    """Reads the history of one selection and customer alone."""

    _is_history = True

    def _rolled_days(self, _: Period) -> list[int]:
        return []  # history is kept by hours alone

    def before(self, at: int) -> RollupState:
        """Return the same of history that counts as history in a period that begins then."""
        state = super().before(at)
        latest = state.detail.last if isinstance(state.detail, Level) else state.detail
        if not isinstance(latest, Latest):
            return state
        return state if is_history_in(at, self._received_at(latest)) else EMPTY

    def _received_at(self, latest: Latest) -> int:
        row = self._connection.execute(_SQL["received_at"], (latest.seq, latest.at)).fetchone()
        if row is not None:
            return int(row[0])
        stored = archived_event(self._connection, latest.seq, latest.at)
        assert stored is not None  # the rollup remembers an event that is somewhere
        return stored.received_at
