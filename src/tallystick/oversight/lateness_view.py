"""How late events arrive, by meter, as people and programs see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import DAY_US, format_instant, parse_instant
from tallystick.domain.lateness import LATE_AFTER_MS, lateness_of
from tallystick.domain.periods import Period
from tallystick.pipeline.lateness import LatenessTally, arrivals_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.domain.meters import Meter
    from tallystick.ports.lateness import LatenessBook

USUAL_DAYS = 30
"""Days that are shown where none are named: today and those before it."""

SHARE_PLACES = 6
MS_PLACES = 3


def days_between(from_text: str | None, to_text: str | None, now: int) -> Period:
    """Return the days that are meant: whole ones of UTC, the last one exclusive.

    Raises:
        ValueError: not a time, not a day's beginning, or the end is not after the start.
    """
    tomorrow_at = now - now % DAY_US + DAY_US
    end_at = parse_instant(to_text) if to_text else tomorrow_at
    start_at = parse_instant(from_text) if from_text else end_at - USUAL_DAYS * DAY_US
    for at in (start_at, end_at):
        if at % DAY_US:
            raise ValueError(
                f"{format_instant(at)} is not a day's beginning in UTC; arrivals are counted by day"
            )
    return Period(start_at, end_at)


def lateness_view(
    book: LatenessBook,
    tally: LatenessTally,
    meters: Iterable[Meter],
    days: Period,
    *,
    batches_max: int | None = None,
) -> dict[str, Any]:
    """Return the lateness of each meter's events that arrived on these days.

    What was not counted yet is counted first, in at most so many batches; ``waiting`` is how many
    events were left.
    """
    waiting = tally.keep_up(batches_max)
    return {
        "from": format_instant(days.start_at),
        "to": format_instant(days.end_at),
        "late_after_seconds": _seconds(LATE_AFTER_MS),
        "waiting": waiting,
        "meters": [_meter_view(book, meter, days) for meter in meters],
    }


def _meter_view(book: LatenessBook, meter: Meter, days: Period) -> dict[str, Any]:
    found = lateness_of(book.delays(arrivals_of(meter), days))
    return {
        "meter": meter.key,
        "events": found.events,
        "p50_seconds": None if found.p50_ms is None else _seconds(found.p50_ms),
        "p99_seconds": None if found.p99_ms is None else _seconds(found.p99_ms),
        "late": found.late,
        "late_share": _share(found.late, found.events) if found.events else None,
        "ahead": found.ahead,
    }


def _seconds(milliseconds: int) -> str:
    return _point(milliseconds, MS_PLACES)


def _share(part: int, whole: int) -> str:
    """Return a share to six places, rounded up: one late event of many millions is not none."""
    return _point(-(-part * 10**SHARE_PLACES // whole), SHARE_PLACES)


def _point(number: int, places: int) -> str:
    """Return a number of units of the last decimal place as a plain decimal."""
    whole, rest = divmod(number, 10**places)
    return f"{whole}.{rest:0{places}d}".rstrip("0").rstrip(".")
