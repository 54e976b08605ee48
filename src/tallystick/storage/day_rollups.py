"""Rollups of whole days: which are still to be made, what of a period is read from them, and
whether they are what their hours come to. For every backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.aggregation import RollupState, merge_all
from tallystick.domain.instants import DAY_US, format_instant
from tallystick.domain.periods import Period
from tallystick.domain.quantity import plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from tallystick.domain.meters import Selection

DAYS_AT_ONCE = 200
"""Days of a selection that are chosen at once: while they wait for their turn, what is appended to
them is written down as stale."""

CUSTOMERS_AT_ONCE = 200
"""Customers whose day is rolled up in one transaction: bounds how long ingest waits."""

STALE_AT_ONCE = 100
"""Days of a customer that are rolled up again in one transaction."""

Part = tuple[int, str, RollupState]
"""When it begins, dimension, state."""


class DayKey(NamedTuple):
    """A customer's day, as the table has it."""

    customer: str
    selection_id: int
    day_at: int


class Run(NamedTuple):
    """Whole hours that follow each other; if ``is_rolled``, whole days that are rolled up."""

    period: Period
    is_rolled: bool


def still_to_roll(
    days: Iterable[int], selection_ids: Iterable[int], chosen: Collection[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return selections and days that are not chosen yet, the newest days first."""
    ids = list(selection_ids)
    pairs = [(id_, day_at) for day_at in sorted(days, reverse=True) for id_ in ids]
    return [pair for pair in pairs if pair not in chosen][:DAYS_AT_ONCE]


def whole_days(hours: Period) -> Period | None:
    """Return the whole UTC days of a period, if it has any."""
    first = -(-hours.start_at // DAY_US) * DAY_US
    last = hours.end_at // DAY_US * DAY_US
    return Period(first, last) if first < last else None


def runs_of(hours: Period, rolled: Iterable[int]) -> list[Run]:
    """Return a period of whole hours as runs; ``rolled`` are days in it, in order."""
    runs: list[Run] = []
    upto = hours.start_at
    for day_at in rolled:
        if upto < day_at:
            runs.append(Run(Period(upto, day_at), is_rolled=False))
        upto = day_at + DAY_US
        if runs and runs[-1].is_rolled:
            runs[-1] = Run(Period(runs[-1].period.start_at, upto), is_rolled=True)
        else:
            runs.append(Run(Period(day_at, upto), is_rolled=True))
    if upto < hours.end_at:
        runs.append(Run(Period(upto, hours.end_at), is_rolled=False))
    return runs


def by_day(hours: Iterable[Part]) -> dict[tuple[int, str], RollupState]:
    """Return what hours, in the order of time, come to day by day, by dimension."""
    found: dict[tuple[int, str], list[RollupState]] = {}
    for hour_at, dimension, state in hours:
        found.setdefault((hour_at - hour_at % DAY_US, dimension), []).append(state)
    return {key: merge_all(states) for key, states in found.items()}


def day_faults(
    customer: str,
    selection: Selection,
    days: Iterable[Part],
    hours: Sequence[Part],
    rolled: Collection[int],
) -> Iterator[str]:
    """Name the rollups of rolled days that are not what the hours of their days come to."""
    kept = {(day_at, dimension): state for day_at, dimension, state in days}
    expected = by_day(hours)
    for day_at, dimension in sorted(kept.keys() | expected.keys()):
        state = kept.get((day_at, dimension))
        wanted = expected.get((day_at, dimension))
        if day_at in rolled and state != wanted:
            group = f", group {dimension}" if dimension else ""
            yield (
                f"day {format_instant(day_at)[:10]}, customer {customer}, {_shown(selection)}"
                f"{group}: rollup of the day {_amounts(state)}, its hours {_amounts(wanted)}"
            )


def _shown(selection: Selection) -> str:
    return f"selection {selection.definition}"


def _amounts(state: RollupState | None) -> str:
    if state is None:
        return "missing"
    detail = "" if state.detail is None else f" and {state.detail}"
    return f"count {state.event_count} sum {plain(state.total)}{detail}"
