"""What is remembered of the events of one hour, and how such states become a quantity.

A state is a fold over events that does not depend on their order, and two states merge into the
state of both sets of events: that is what lets live usage be kept beside the events and compared
with them. A level's states alone merge only in the order of time.
"""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from tallystick.domain.meters import Aggregation, Fold, Selection, property_text
from tallystick.domain.quantity import DECIMALS_MAX, PICO, ZERO, exact, from_parts, to_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class NotMergeable(ValueError):
    """Two levels whose events lie among each other: they are folded again from the events."""


class Point(NamedTuple):
    """What a fold sees of an event: when, its place in the log, its value, and a property."""

    at: int
    seq: int
    value: Decimal
    member: str | None = None


class Extremes(NamedTuple):
    """The least and the greatest value."""

    least: Decimal
    greatest: Decimal

    def merge(self, other: Extremes) -> Extremes:
        """Return the extremes of both."""
        return Extremes(min(self.least, other.least), max(self.greatest, other.greatest))


class Latest(NamedTuple):
    """The latest event: compared by time, then by place in the log."""

    at: int
    seq: int
    value: Decimal

    def merge(self, other: Latest) -> Latest:
        """Return the later one."""
        return max(self, other, key=lambda latest: (latest.at, latest.seq))


class Level(NamedTuple):
    """A level between two events: where it began and ended, and the area under it.

    ``area`` is in value times 10^-12 microseconds, a whole number.
    """

    first: Latest
    last: Latest
    area: int

    def merge(self, other: Level) -> Level:
        """Return the level over both.

        Raises:
            NotMergeable: the events of one do not all lie before those of the other.
        """
        left, right = (self, other) if self.first[:2] < other.first[:2] else (other, self)
        if left.last[:2] > right.first[:2]:
            raise NotMergeable("the events of two levels lie among each other")
        between = level_area(left.last.value, right.first.at - left.last.at)
        return Level(left.first, right.last, left.area + between + right.area)


class Members(NamedTuple):
    """The distinct members, each as 16 bytes."""

    digests: frozenset[bytes]

    def merge(self, other: Members) -> Members:
        """Return the members of either."""
        return Members(self.digests | other.digests)


class Integral(NamedTuple):
    """The area under a level over some time, and the length of the meter's unit of time."""

    area: int
    unit_us: int

    def merge(self, other: Integral) -> Integral:
        """Return the area under both."""
        return Integral(self.area + other.area, self.unit_us)

    @property
    def quantity(self) -> Decimal:
        """The area in the meter's unit, to 12 places, half of the last one rounded up.

        Time in microseconds over hours or days has no end of decimals: this is the one quantity
        that is rounded, after everything was added exactly.
        """
        doubled, unit = 2 * self.area, 2 * self.unit_us
        whole_pico = (doubled + self.unit_us) // unit
        with exact():
            return Decimal(whole_pico).scaleb(-DECIMALS_MAX)


Detail = Extremes | Latest | Level | Members | Integral


class RollupState(NamedTuple):
    """Count and exact sum of some events' values, ``sum_whole + sum_pico / PICO``, and what else
    the fold remembers of them.
    """

    event_count: int = 0
    sum_whole: int = 0
    sum_pico: int = 0
    detail: Detail | None = None

    @property
    def total(self) -> Decimal:
        """The sum of the values."""
        return from_parts(self.sum_whole, self.sum_pico)


EMPTY = RollupState()


def state_of(point: Point, fold: Fold) -> RollupState:
    """Return the state of one event."""
    return RollupState(1, *to_parts(point.value), _detail(point, fold))


def point_of(
    selection: Selection, seq: int, at: int, value: Decimal, properties: Mapping[str, Any]
) -> Point:
    """Return what a selection's fold sees of an event."""
    member = None
    if selection.member is not None:
        member = property_text(properties, selection.member)
    return Point(at, seq, value, member)


def _detail(point: Point, fold: Fold) -> Detail | None:
    match fold:
        case Fold.SUM:
            return None
        case Fold.EXTREMES:
            return Extremes(point.value, point.value)
        case Fold.LAST:
            return Latest(point.at, point.seq, point.value)
        case Fold.LEVEL:
            latest = Latest(point.at, point.seq, point.value)
            return Level(latest, latest, 0)
        case Fold.MEMBERS:
            member = blake2b((point.member or "").encode(), digest_size=16).digest()
            return Members(frozenset((member,)))
    assert_never(fold)


def merge(left: RollupState, right: RollupState) -> RollupState:
    """Return the state of the events of both; in normal form, so that equal sums compare equal.

    Raises:
        NotMergeable: see ``Level.merge``.
    """
    carry, pico = divmod(left.sum_pico + right.sum_pico, PICO)
    if left.detail is None or right.detail is None:
        detail = left.detail or right.detail
    else:
        detail = left.detail.merge(right.detail)  # type: ignore[arg-type]  # one fold, one kind
    return RollupState(
        left.event_count + right.event_count,
        left.sum_whole + right.sum_whole + carry,
        pico,
        detail,
    )


def merge_all(states: Iterable[RollupState]) -> RollupState:
    """Return the state of all the events behind the given states.

    Neighbours first, then what they make: sets of members are copied a few times, not each time.
    """
    merged = list(states)
    while len(merged) > 1:
        pairs = zip(merged[::2], merged[1::2], strict=False)
        merged = [merge(*pair) for pair in pairs] + merged[len(merged) & ~1 :]
    return merge(EMPTY, merged[0]) if merged else EMPTY


def fold_points(points: Iterable[Point], fold: Fold) -> RollupState:
    """Return the state of the events, in whatever order they come: the plain recount."""
    ordered = sorted(points, key=lambda point: (point.at, point.seq))
    return merge_all(state_of(point, fold) for point in ordered)


def level_area(value: Decimal, length_us: int) -> int:
    """Return the area under a level that is held for so long."""
    whole, pico = to_parts(value)
    return int(whole * PICO + pico) * length_us


def quantity_of(state: RollupState, aggregation: Aggregation) -> Decimal:
    """Return the quantity that a meter of this aggregation reads from the state.

    Without any event it is zero.
    """
    detail = state.detail
    match aggregation:
        case Aggregation.COUNT:
            return from_parts(state.event_count, 0)
        case Aggregation.SUM:
            return state.total
        case Aggregation.MIN:
            return detail.least if isinstance(detail, Extremes) else ZERO
        case Aggregation.MAX:
            return detail.greatest if isinstance(detail, Extremes) else ZERO
        case Aggregation.LAST | Aggregation.LAST_EVER:
            return detail.value if isinstance(detail, Latest) else ZERO
        case Aggregation.UNIQUE_COUNT:
            return Decimal(len(detail.digests)) if isinstance(detail, Members) else ZERO
        case Aggregation.TIME_WEIGHTED:
            return detail.quantity if isinstance(detail, Integral) else ZERO
    assert_never(aggregation)
