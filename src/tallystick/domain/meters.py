"""Meters: which events count, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from tallystick.domain.quantity import DECIMALS_MAX, QuantityError, decimals_of

if TYPE_CHECKING:
    from decimal import Decimal


class Fold(StrEnum):
    """What is remembered of a set of events; several aggregations read the same."""

    SUM = "sum"
    """How many, and the exact sum of the values."""
    EXTREMES = "extremes"
    """The least and the greatest value."""
    LAST = "last"
    """The value of the latest event; of two at one instant, of the one that arrived later."""
    LEVEL = "level"
    """A level that each event sets, and its integral from the first event to the last."""
    MEMBERS = "members"
    """The distinct values of a property."""


class Aggregation(StrEnum):
    """How the events of a period become one quantity."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    LAST = "last"
    LAST_EVER = "last_ever"
    UNIQUE_COUNT = "unique_count"
    TIME_WEIGHTED = "time_weighted"

    @property
    def fold(self) -> Fold:
        """What must be remembered of events to read this from."""
        return _FOLDS[self]

    @property
    def merges(self) -> bool:
        """Whether the states of any two sets of events merge.

        Those of ``time_weighted`` merge only where all of one set's events lie before the other's.
        """
        return self is not Aggregation.TIME_WEIGHTED

    @property
    def carries(self) -> bool:
        """Whether what was there before a period counts in it, so that a period without events can
        have a quantity.
        """
        return self in (Aggregation.LAST_EVER, Aggregation.TIME_WEIGHTED)


_FOLDS = {
    Aggregation.COUNT: Fold.SUM,
    Aggregation.SUM: Fold.SUM,
    Aggregation.MIN: Fold.EXTREMES,
    Aggregation.MAX: Fold.EXTREMES,
    Aggregation.LAST: Fold.LAST,
    Aggregation.LAST_EVER: Fold.LAST,
    Aggregation.UNIQUE_COUNT: Fold.MEMBERS,
    Aggregation.TIME_WEIGHTED: Fold.LEVEL,
}


class StripeFormula(StrEnum):
    """What a Stripe meter makes of its meter events: ``default_aggregation.formula``."""

    SUM = "sum"
    """Adds them: it is told differences, whatever is measured."""
    COUNT = "count"
    """Counts them: it is told of each usage event by itself."""
    LAST = "last"
    """Takes the last one's value: it is told levels, each the whole figure so far."""


class TimeUnit(StrEnum):
    """The time in the unit of a ``time_weighted`` meter: seat-days, GB-hours."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length_us(self) -> int:
        """How long it is, in microseconds."""
        return _LENGTHS_US[self]


_LENGTHS_US = {
    TimeUnit.SECOND: SECOND_US,
    TimeUnit.MINUTE: MINUTE_US,
    TimeUnit.HOUR: HOUR_US,
    TimeUnit.DAY: DAY_US,
}


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """Lets an event pass whose property has one of the values, each as its text."""

    property: str
    values: tuple[str, ...]

    def passes(self, properties: Mapping[str, Any]) -> bool:
        """Tell whether an event with these properties counts."""
        return property_text(properties, self.property) in self.values


@dataclass(frozen=True, slots=True)
class Selection:
    """Some events, and what is remembered of them: what meters that ask for the same share.

    ``group_by`` names the properties by whose values it is kept apart; ``member`` the property
    whose distinct values are kept.
    """

    event_type: str
    fold: Fold = Fold.SUM
    filters: tuple[PropertyFilter, ...] = ()
    group_by: tuple[str, ...] = ()
    member: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it takes every event of its type and remembers no more than their sum."""
        return self == Selection(self.event_type)

    @property
    def definition(self) -> str:
        """Its text: equal exactly for equal selections."""
        return json.dumps(
            {
                "event_type": self.event_type,
                "fold": self.fold,
                "filters": [[each.property, list(each.values)] for each in self.filters],
                "group_by": self.group_by,
                "member": self.member,
            },
            sort_keys=True,
        )

    @classmethod
    def of_definition(cls, text: str) -> Selection:
        """Return the selection of a text that ``definition`` returned."""
        fields = json.loads(text)
        return cls(
            fields["event_type"],
            Fold(fields["fold"]),
            tuple(PropertyFilter(name, tuple(values)) for name, values in fields["filters"]),
            tuple(fields["group_by"]),
            fields["member"],
        )

    def takes(self, properties: Mapping[str, Any]) -> bool:
        """Tell whether an event of its type with these properties is among its events."""
        if self.member is not None and property_text(properties, self.member) is None:
            return False
        return all(each.passes(properties) for each in self.filters)

    def dimension(self, properties: Mapping[str, Any]) -> str:
        """Return the values that it is grouped by, as a JSON array; empty text if it is not."""
        if not self.group_by:
            return ""
        return json.dumps([property_text(properties, name) for name in self.group_by])


@dataclass(frozen=True, slots=True)
class Meter:
    """What is measured: the events of one type, aggregated one way.

    ``key`` is also the ``event_name`` of the Stripe meter that it reports to, and ``formula`` what
    that one makes of what it is told: ``sum``, unless it was there before. ``decimals`` is how many
    places a value may have (0 to 12). ``report_every_minutes`` None: usage is reported in real
    time; else in batches of that many minutes. ``counted_property`` is what ``unique_count`` counts
    the values of; ``per`` the time in the unit of ``time_weighted``; ``group_by`` the properties
    that usage can be broken down by.
    """

    key: str
    display_name: str
    event_type: str
    aggregation: Aggregation
    decimals: int = 0
    report_every_minutes: int | None = None
    counted_property: str | None = None
    filters: tuple[PropertyFilter, ...] = ()
    group_by: tuple[str, ...] = ()
    per: TimeUnit = TimeUnit.HOUR
    formula: StripeFormula = StripeFormula.SUM

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= DECIMALS_MAX:
            raise ValueError(f"meter {self.key}: decimals must be 0 to {DECIMALS_MAX}")
        if (self.aggregation is Aggregation.UNIQUE_COUNT) != (self.counted_property is not None):
            raise ValueError(f"meter {self.key}: unique_count, and it alone, counts a property")
        if self.formula is StripeFormula.COUNT and self.aggregation is not Aggregation.COUNT:
            raise ValueError(f"meter {self.key}: a Stripe meter that counts events counts alone")

    @property
    def selection(self) -> Selection:
        """The events that it counts."""
        return Selection(
            self.event_type, self.aggregation.fold, self.filters, member=self.counted_property
        )

    @property
    def breakdown(self) -> Selection | None:
        """The same kept apart by ``group_by``, if it has one.

        Not for what carries over: what a group was before a period is not kept by group.
        """
        if not self.group_by or self.aggregation.carries:
            return None
        return Selection(
            self.event_type,
            self.aggregation.fold,
            self.filters,
            self.group_by,
            self.counted_property,
        )

    @property
    def selections(self) -> tuple[Selection, ...]:
        """Everything that is kept for it."""
        return (self.selection, self.breakdown) if self.breakdown else (self.selection,)

    def check(self, value: Decimal) -> None:
        """Raise ``QuantityError`` (``value_too_many_decimals``) for a value that is finer than the
        meter.

        A meter that counts events or members takes any value, because it looks at none.
        """
        if self.aggregation in (Aggregation.COUNT, Aggregation.UNIQUE_COUNT):
            return
        if decimals_of(value) > self.decimals:
            raise QuantityError(
                "value_too_many_decimals",
                f"the value has {decimals_of(value)} decimal places and meter {self.key} takes "
                f"{self.decimals}",
            )


class MeterSet:
    """The meters in force, by key and by the event type that they select, and of which sources
    events may come without ids.
    """

    def __init__(
        self,
        meters: tuple[Meter, ...] = (),
        version: int = 0,
        deriving_sources: frozenset[str] = frozenset(),
    ) -> None:
        self.version = version
        self.deriving_sources = deriving_sources
        self.by_key = {meter.key: meter for meter in meters}
        self.by_event_type: dict[str, tuple[Meter, ...]] = {}
        for meter in meters:
            chosen = self.by_event_type.get(meter.event_type, ())
            self.by_event_type[meter.event_type] = (*chosen, meter)

    def selecting(self, event_type: str) -> tuple[Meter, ...]:
        """Return the meters that count events of this type."""
        return self.by_event_type.get(event_type, ())


def property_text(properties: Mapping[str, Any], name: str) -> str | None:
    """Return a property as the text that filters and groups compare: a string is its own text,
    anything else its JSON; None where there is none or it is null.
    """
    value = properties.get(name)
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
