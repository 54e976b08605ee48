"""The plain recount: usage folded from the events, to hold rollups and reports against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.aggregation import (
    EMPTY,
    Point,
    RollupState,
    fold_points,
    merge,
    point_of,
    state_of,
)
from tallystick.domain.events import read_properties
from tallystick.domain.levels import history_quantity, measured_quantity
from tallystick.domain.meters import Fold, Meter, MeterSet, Selection
from tallystick.domain.periods import Period, hour_of
from tallystick.domain.quantity import subtract
from tallystick.ports.event_store import UsageAndHistory
from tallystick.ports.verification import Cell

if TYPE_CHECKING:
    from decimal import Decimal

    from tallystick.ports.event_store import StoredEvent


class Recount:
    """Folds events into cells, as rollups must be."""

    def __init__(self, meters: MeterSet) -> None:
        self.cells: dict[Cell, RollupState] = {}
        self._late: dict[Cell, list[Point]] = {}
        self._by_type: dict[str, list[Selection]] = {}
        for event_type, selecting in meters.by_event_type.items():
            wanted = [Selection(event_type)]
            wanted += [selection for meter in selecting for selection in meter.selections]
            self._by_type[event_type] = list(dict.fromkeys(wanted))

    def add(self, stored: StoredEvent) -> None:
        """Fold one event."""
        event = stored.event
        value = stored.counts_for
        if value is None:
            return
        wanted = self._by_type.get(event.type, [])
        properties = read_properties(event.properties) if len(wanted) > 1 else {}
        for selection in wanted:
            if not selection.takes(properties):
                continue
            cell = Cell(
                hour_of(event.occurred_at),
                selection,
                event.customer,
                selection.dimension(properties),
            )
            point = point_of(selection, stored.seq, event.occurred_at, value, properties)
            self._fold(cell, point)
            if stored.is_history and not selection.group_by:
                self._fold(cell._replace(is_history=True), point)

    def _fold(self, cell: Cell, point: Point) -> None:
        fold = cell.selection.fold
        if fold is Fold.LEVEL:  # merges in the order of time only
            self._late.setdefault(cell, []).append(point)
        else:
            self.cells[cell] = merge(self.cells.get(cell, EMPTY), state_of(point, fold))

    def finish(self) -> dict[Cell, RollupState]:
        """Return every cell."""
        for cell, points in self._late.items():
            self.cells[cell] = fold_points(points, Fold.LEVEL)
        return self.cells


class MeasuredPeriods:
    """What Stripe is to be told of the periods that reports cover, recounted."""

    def __init__(self) -> None:
        self._meters: dict[str, list[Meter]] = {}
        self._periods: dict[tuple[str, str], list[tuple[Period, int]]] = {}
        self._states: dict[tuple[str, str, Period, bool], RollupState] = {}
        self._points: dict[tuple[str, str, bool], list[Point]] = {}
        self._received_at: dict[int, int] = {}

    def cover(self, meter: Meter, customer: str, period: Period, upto: int) -> None:
        """Measure a period of a customer until an instant."""
        meters = self._meters.setdefault(meter.event_type, [])
        if meter not in meters:
            meters.append(meter)
        self._periods.setdefault((customer, meter.key), []).append((period, upto))

    def add(self, stored: StoredEvent) -> None:
        """Count one event."""
        event = stored.event
        value = stored.counts_for
        if value is None:
            return
        for meter in self._meters.get(event.type, ()):
            spans = self._periods.get((event.customer, meter.key))
            if not spans:
                continue
            selection = meter.selection
            is_simple = not selection.filters and selection.member is None
            properties = {} if is_simple else read_properties(event.properties)
            if not selection.takes(properties):
                continue
            point = point_of(selection, stored.seq, event.occurred_at, value, properties)
            self._add_point(meter, event.customer, point, spans, is_history=False)
            if stored.is_history:
                self._received_at[stored.seq] = stored.received_at
                self._add_point(meter, event.customer, point, spans, is_history=True)

    def _add_point(
        self,
        meter: Meter,
        customer: str,
        point: Point,
        spans: list[tuple[Period, int]],
        *,
        is_history: bool,
    ) -> None:
        if meter.aggregation.carries:  # what lies before a period counts too
            self._points.setdefault((customer, meter.key, is_history), []).append(point)
            return
        for period, upto in spans:
            if period.start_at <= point.at < upto:
                key = (customer, meter.key, period, is_history)
                state = state_of(point, meter.selection.fold)
                self._states[key] = merge(self._states.get(key, EMPTY), state)

    def quantity(self, meter_key: str, customer: str, period: Period) -> Decimal:
        """Return what the customer used of the meter, less what history alone comes to."""
        meter = next(
            meter for meters in self._meters.values() for meter in meters if meter.key == meter_key
        )
        if not meter.aggregation.carries:
            states = [
                self._states.get((customer, meter_key, period, is_history), EMPTY)
                for is_history in (False, True)
            ]
            return UsageAndHistory(*states).reportable(meter.aggregation)
        window = Period(period.start_at, dict(self._periods[customer, meter_key])[period])
        points, history = (
            self._points.get((customer, meter_key, is_history), []) for is_history in (False, True)
        )
        return subtract(
            measured_quantity(points, meter, window),
            history_quantity(history, self._received_at, meter, window),
        )
