"""Billing periods on the real calendar: month-end anchors, leap years, UTC.

DOC:billing/subscriptions/billing-cycle: a subscription anchored on the 31st bills on the last day
of shorter months and returns to the 31st.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

_SECONDS = {"day": 86_400, "week": 7 * 86_400}


def add_intervals(anchor: int, interval: str, count: int, day_of_month: int | None = None) -> int:
    """Return the instant ``count`` intervals after the anchor.

    ``day_of_month`` is the day that is wanted where the anchor itself lies in a shorter month.
    """
    if interval in _SECONDS:
        return anchor + count * _SECONDS[interval]
    months = count * (12 if interval == "year" else 1)
    start = datetime.fromtimestamp(anchor, UTC)
    month_index = start.year * 12 + start.month - 1 + months
    year, month = divmod(month_index, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    day = min(day_of_month or start.day, last_day)
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def next_boundary(
    anchor: int, after: int, interval: str, interval_count: int, day_of_month: int | None = None
) -> int:
    """Return the first period boundary later than ``after``.

    Boundaries lie whole numbers of ``interval_count`` intervals from the anchor, on both sides.
    """
    step = (after - anchor) // (interval_count * _approximate_s(interval)) - 2
    while True:
        boundary = add_intervals(anchor, interval, step * interval_count, day_of_month)
        if boundary > after:
            return boundary
        step += 1


def previous_boundary(
    anchor: int, at: int, interval: str, interval_count: int, day_of_month: int | None = None
) -> int:
    """Return the last period boundary at or before ``at``: where a full period would have begun."""
    step = (at - anchor) // (interval_count * _approximate_s(interval)) + 2
    while True:
        boundary = add_intervals(anchor, interval, step * interval_count, day_of_month)
        if boundary <= at:
            return boundary
        step -= 1


def _approximate_s(interval: str) -> int:
    return {"day": 86_400, "week": 604_800, "month": 2_629_800, "year": 31_557_600}[interval]


def anchor_from_config(config: dict[str, int | None], start: int) -> int:
    """Return the first instant at or after ``start`` that a billing_cycle_anchor_config names.

    DOC:billing/subscriptions/billing-cycle: unset time parts take the time of creation.
    """
    begin = datetime.fromtimestamp(start, UTC)
    day = config["day_of_month"] or begin.day
    clock = {
        "hour": _given(config.get("hour"), begin.hour),
        "minute": _given(config.get("minute"), begin.minute),
        "second": _given(config.get("second"), begin.second),
    }
    month = config.get("month")
    year, at_month = begin.year, month or begin.month
    while True:
        last_day = calendar.monthrange(year, at_month)[1]
        candidate = datetime(year, at_month, min(day, last_day), **clock, tzinfo=UTC)
        if candidate >= begin:
            return int(candidate.timestamp())
        if month:
            year += 1
        else:
            at_month = at_month % 12 + 1
            year += 1 if at_month == 1 else 0


def _given(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def shown_date(instant: int) -> str:
    """Return a date as Stripe writes it in descriptions: ``10 Nov 2025``."""
    day = datetime.fromtimestamp(instant, UTC)
    return f"{day.day} {day:%b %Y}"


def floor_to_day(instant: int) -> int:
    """Return the start of the UTC day."""
    return instant - instant % 86_400


def days_after(instant: int, days: int) -> int:
    """Return the instant some days later."""
    return int((datetime.fromtimestamp(instant, UTC) + timedelta(days=days)).timestamp())
