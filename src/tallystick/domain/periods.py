"""Half-open periods of time, and how one is cut at UTC hours."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.domain.instants import HOUR_US, format_instant


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """``[start_at, end_at)`` in microseconds UTC, from any instant on, never empty."""

    start_at: int
    end_at: int

    def __post_init__(self) -> None:
        if self.start_at >= self.end_at:
            raise ValueError(
                f"a period ends after it starts: {format_instant(self.start_at)} to "
                f"{format_instant(self.end_at)}"
            )

    def __contains__(self, at: int) -> bool:
        return self.start_at <= at < self.end_at

    def __str__(self) -> str:
        return f"[{format_instant(self.start_at)}, {format_instant(self.end_at)})"

    def overlaps(self, other: Period) -> bool:
        """Tell whether some instant belongs to both."""
        return self.start_at < other.end_at and other.start_at < self.end_at


@dataclass(frozen=True, slots=True)
class HourCut:
    """A period cut at UTC hours: the whole hours in it, and the ragged ends beside them.

    Whole hours are read from rollups; the ends are folded from the events themselves.
    """

    whole_hours: Period | None
    ends: tuple[Period, ...]


def cut_at_hours(period: Period) -> HourCut:
    """Return the whole UTC hours of the period and what is left at its ends."""
    first = -(-period.start_at // HOUR_US) * HOUR_US
    last = period.end_at // HOUR_US * HOUR_US
    if first > last:  # both ends lie inside one hour
        return HourCut(None, (period,))
    ends = []
    if period.start_at < first:
        ends.append(Period(period.start_at, first))
    if last < period.end_at:
        ends.append(Period(last, period.end_at))
    return HourCut(Period(first, last) if first < last else None, tuple(ends))


def hour_of(at: int) -> int:
    """Return the start of the UTC hour that holds the instant."""
    return at // HOUR_US * HOUR_US
