"""A recount of every aggregation that shares no code with the product: slow, short and plain."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

HOUR_US = 3_600_000_000
PLACES = 10**12


class Counted(NamedTuple):
    """An event that counts, in the order of arrival; ``imported_at`` if it is history."""

    at: int
    order: int
    value: Fraction
    user: str | None
    imported_at: int | None = None


def recount(aggregation: str, events: list[Counted], start_at: int, end_at: int) -> Fraction:
    """Return what a meter of this aggregation measures in ``[start_at, end_at)``, per hour."""
    in_order = sorted(events, key=lambda event: (event.at, event.order))
    inside = [event for event in in_order if start_at <= event.at < end_at]
    past = [event for event in in_order if event.at < end_at]
    values = [event.value for event in inside]
    match aggregation:
        case "count":
            return Fraction(len(inside))
        case "sum":
            return sum(values, Fraction(0))
        case "min":
            return min(values, default=Fraction(0))
        case "max":
            return max(values, default=Fraction(0))
        case "last":
            return values[-1] if values else Fraction(0)
        case "last_ever":
            return past[-1].value if past else Fraction(0)
        case "unique_count":
            return Fraction(len({event.user for event in inside if event.user is not None}))
        case "time_weighted":
            return _integral(past, start_at, end_at)
    raise AssertionError(aggregation)


def _integral(past: list[Counted], start_at: int, end_at: int) -> Fraction:
    area = Fraction(0)
    for number, event in enumerate(past):
        begins = max(event.at, start_at)
        ends = past[number + 1].at if number + 1 < len(past) else end_at
        if ends > begins:
            area += event.value * (ends - begins)
    exact = area / HOUR_US * PLACES
    return Fraction((2 * exact.numerator + exact.denominator) // (2 * exact.denominator), PLACES)
