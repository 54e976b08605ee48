"""Usage reports: the differences that Stripe is told, and under which identifier and timestamp.

A report says "measured minus already reported" for one customer, meter and billing period. Once it
exists it never changes; what changes later becomes a further report with the next sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from tallystick.domain.quantity import DIGITS_MAX, decimals_of, exact, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.domain.periods import Period
    from tallystick.domain.usage_records import RecordAggregation

STRIPE_AGE_MAX_US = 35 * DAY_US
"""Stripe refuses meter events older than 35 days (API reference, billing/meter-event/create)."""

AGE_MARGIN_US = HOUR_US
"""Kept clear of that limit, because a report waits in the outbox before Stripe reads its clock."""

CLOSED_PERIOD_GRACE_US = HOUR_US
"""How long after its end Stripe still bills usage of a period: a cycle invoice stays a draft for
about an hour (docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period).

Usage records have no such hour: Stripe refuses those of a period that is over.
"""

IDENTIFIER_WINDOW_US = 23 * HOUR_US
"""How long after the first attempt a repeat is surely recognised: Stripe keeps identifiers for at
least 24 hours, and one hour is left for clocks that differ."""


CANCEL_WINDOW_US = 23 * HOUR_US
"""How long after its first attempt a meter event may surely be cancelled: Stripe allows it within
24 hours of receiving the event, and one hour is left for clocks that differ."""


class ReportState(StrEnum):
    """Where a report stands.

    pending -> delivered, dead, unresolved or parked; delivered -> dead when Stripe says later that
    it did not count it. What stands still (dead, unresolved, parked) a person moves on: driven
    again, it is replaced by a new report; settled, it is delivered or waived. A cancellation that
    Stripe refuses is replaced without a person. An attempt under way is a lease on a pending
    report, not a state: a crash must not leave one behind.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Stripe refused it for good, or did not count what it took."""
    UNRESOLVED = "unresolved"
    """Whether an attempt arrived can be told neither from an answer nor from Stripe's totals."""
    PARKED = "parked"
    """Stripe would not bill it any more: late usage."""
    REPLACED = "replaced"
    """Another report tells Stripe the same; this one counts for nothing."""
    WAIVED = "waived"
    """A person decided that Stripe shall not be told."""


STUCK = (ReportState.DEAD, ReportState.UNRESOLVED, ReportState.PARKED)
"""States that only a person, or a policy, ends."""


class StrayReason(StrEnum):
    """Why a report was replaced because of its timestamp: its period was another one than we knew.

    Stripe counts a meter event in the period that holds its timestamp, whatever it was made for.
    """

    NOT_TAKEN = "stray"
    """No period was what we knew then; Stripe never had the report."""
    TAKEN = "stray_taken"
    """Stripe has it, outside of every period: it is billed nowhere."""
    UNKNOWN = "stray_unknown"
    """The same, if it has it."""
    MOVED = "moved"
    """Stripe has it, or may, inside another period: a report there stands for it."""


BILLED_NOWHERE = (StrayReason.TAKEN, StrayReason.UNKNOWN)
"""Reasons of reports that a period may yet turn out to cover."""


class ReportWay(StrEnum):
    """How Stripe is told; a subscription item says which ways it can be."""

    METER_EVENTS = "meter_events"
    """``POST /v1/billing/meter_events``: one a call, checked at once."""
    METER_EVENT_STREAM = "meter_event_stream"
    """``POST /v2/billing/meter_event_stream``: 100 a call, checked later."""
    USAGE_RECORDS = "usage_records"
    """``POST /v1/subscription_items/ITEM/usage_records``: a legacy price, without a meter."""


class Step(StrEnum):
    """What a pending report needs next."""

    SEND = "send"
    """Tell Stripe, under the request key of the first attempt: a repeat is answered from memory."""
    SEND_FRESH = "send_fresh"
    """Tell Stripe under a request key never used: Stripe would replay a failure under the old."""
    RESOLVE = "resolve"
    """Read Stripe's totals first: an attempt may have arrived, and a repeat could count twice."""


class ParkReason(StrEnum):
    """Why usage is kept back from Stripe."""

    PERIOD_CLOSED = "period_closed"
    """The invoice of its period is past changing."""
    TOO_OLD = "too_old"
    """Its period ended more than 35 days ago: Stripe takes no event with such a timestamp."""
    NO_TIMESTAMP = "no_timestamp"
    """Its period has no whole minute, or no second after its last report, to carry it."""
    NO_RECORD = "no_record"
    """A correction that is larger than what Stripe holds and may still be changed."""
    NOT_CANCELLABLE = "not_cancellable"
    """A count can only be taken back by cancelling a meter event, for 24 hours."""
    TOO_MANY_DIGITS = "too_many_digits"
    """A level of more than 15 digits, which cannot be told in parts."""


class EventKey(NamedTuple):
    """Which usage event a report stands for, where a Stripe meter counts them one by one."""

    source: str
    id: str


class UsageReport(NamedTuple):
    """One line of the outbox.

    ``quantity`` is the difference, possibly negative; ``timestamp`` is in whole seconds, as Stripe
    takes it; instants are microseconds. ``maybe_taken`` says that some attempt may have reached
    Stripe without our seeing the answer, and ``first_attempt_at`` when the first such was made.
    ``closes_at`` is when Stripe stops billing the usage, on our clock. For a usage record,
    ``level`` is what the record at ``timestamp`` of ``stripe_item_id`` becomes, or by how much it
    grows if ``is_increment``, and ``record_aggregation`` how Stripe adds up the item's records. A
    meter that takes the last value gets levels too. ``event`` is the usage event that the report
    stands for, where a meter counts them; ``cancels`` the identifier of the report that this one
    takes back.
    """

    id: int
    customer: str
    stripe_customer_id: str
    meter_key: str
    period: Period
    window: Period
    sequence: int
    quantity: Decimal
    timestamp: int
    identifier: str
    state: ReportState = ReportState.PENDING
    reason: str | None = None
    attempts: int = 0
    maybe_taken: bool = False
    first_attempt_at: int | None = None
    way: ReportWay = ReportWay.METER_EVENTS
    stripe_item_id: str | None = None
    level: Decimal | None = None
    record_aggregation: RecordAggregation | None = None
    is_increment: bool = False
    event: EventKey | None = None
    cancels: str | None = None
    closes_at: int = 0
    step: Step = Step.SEND
    planned_at: int = 0
    settled_at: int | None = None
    verified_at: int | None = None

    @property
    def value(self) -> Decimal:
        """What Stripe is told: the difference, or the level that it makes."""
        return self.quantity if self.level is None else self.level

    @property
    def overwrites_itself(self) -> bool:
        """Whether a repeat changes nothing, however late it comes and under whatever name."""
        is_level = self.way is ReportWay.USAGE_RECORDS or self.level is not None
        return is_level and not self.is_increment

    @property
    def is_planned_anew(self) -> bool:
        """Whether what would take its place depends on the other reports of its period."""
        return (
            self.way is ReportWay.USAGE_RECORDS
            or self.level is not None
            or self.event is not None
            or self.cancels is not None
        )


@dataclass(frozen=True, slots=True)
class PlannedReport:
    """A report that is about to be written to the outbox; see ``UsageReport`` for the fields."""

    customer: str
    stripe_customer_id: str
    meter_key: str
    period: Period
    window: Period
    sequence: int
    quantity: Decimal
    timestamp: int
    identifier: str
    state: ReportState
    reason: ParkReason | None
    closes_at: int
    way: ReportWay = ReportWay.METER_EVENTS
    stripe_item_id: str | None = None
    level: Decimal | None = None
    record_aggregation: RecordAggregation | None = None
    is_increment: bool = False
    event: EventKey | None = None
    cancels: str | None = None

    def closing_at(self, at: int) -> PlannedReport:
        """Return it with another instant from which on Stripe takes it no more."""
        return replace(self, closes_at=at)


def report_identifier(
    stripe_customer_id: str, meter_key: str, window: Period, sequence: int, quantity: Decimal
) -> str:
    """Return the name under which Stripe recognises a repeat of this very report.

    ``ts1-`` and 40 hexadecimal digits: the first 20 bytes of BLAKE2b over the fields, joined by
    NUL. The quantity is part of it, so that a database restored from a backup cannot send another
    quantity under a name that Stripe already knows. Stable over versions: a change of the recipe
    changes the prefix.
    """
    fields = (
        stripe_customer_id,
        meter_key,
        str(window.start_at),
        str(window.end_at),
        str(sequence),
        plain(quantity),
    )
    return "ts1-" + blake2b("\0".join(fields).encode(), digest_size=20).hexdigest()


def event_identifier(
    stripe_customer_id: str, meter_key: str, period: Period, event: EventKey, turn: int
) -> str:
    """Return the name under which a Stripe meter that counts events knows one usage event.

    ``turn`` numbers the reports of one event: another one follows where Stripe refused the first,
    or where it was cancelled and the event counts again. Made as ``report_identifier`` is.
    """
    fields = (
        "event",
        stripe_customer_id,
        meter_key,
        str(period.start_at),
        event.source,
        event.id,
        str(turn),
    )
    return "ts1-" + blake2b("\0".join(fields).encode(), digest_size=20).hexdigest()


def report_timestamp(period: Period, as_of: int, now: int) -> int | None:
    """Return the Unix second under which Stripe shall count a report, or None if there is none.

    As close to ``as_of`` (the end of the window reported) as these allow: inside the period;
    outside the minutes that hold its boundaries, because Stripe's summaries are cut at whole
    minutes and must show each period by itself; not older than Stripe takes at ``now``.
    """
    span = timestamp_span(period, now - STRIPE_AGE_MAX_US + AGE_MARGIN_US)
    if span is None:
        return None
    earliest, latest = span
    return min(max((as_of - 1) // SECOND_US, earliest), latest)


def level_timestamp(period: Period, as_of: int, now: int, after: int | None) -> int | None:
    """Return the second for the next level of a meter that takes the last value, or None if none
    is left.

    Later than ``after``, the second of the level before, so that the order of time is that of
    sending. A level at the period's end takes the middle of what is left: corrections may follow.
    """
    span = timestamp_span(period, now - STRIPE_AGE_MAX_US + AGE_MARGIN_US)
    if span is None:
        return None
    earliest, latest = span
    if after is not None:
        earliest = max(earliest, after + 1)
    if earliest > latest:
        return None
    if as_of >= period.end_at:
        return (earliest + latest) // 2
    return min(max((as_of - 1) // SECOND_US, earliest), latest)


def timestamp_span(period: Period, oldest: int) -> tuple[int, int] | None:
    """Return the first and the last Unix second that a report of the period may carry.

    Outside the minutes that hold the period's boundaries, and not before ``oldest``.
    """
    start_at = period.start_at // MINUTE_US * MINUTE_US + MINUTE_US
    earliest = -(-max(start_at, oldest) // SECOND_US)
    latest = period.end_at // MINUTE_US * MINUTE_US // SECOND_US - 1
    return (earliest, latest) if earliest <= latest else None


def cut_short(period: Period, starts: Iterable[int]) -> Period:
    """Return the period until the next one of the same customer and meter begins.

    A period whose end was moved forward afterwards is known from the one that took its place.
    """
    later = [start_at for start_at in starts if start_at > period.start_at]
    return replace(period, end_at=min([period.end_at, *later]))


def starts_of(reports: Iterable[UsageReport]) -> set[int]:
    """Return when the periods of reports begin; one whose reports were all replaced never was."""
    return {one.period.start_at for one in reports if one.state is not ReportState.REPLACED}


def shown_in(reports: Iterable[UsageReport], period: Period) -> list[UsageReport]:
    """Return which of a meter's reports Stripe's total of a period is made of, in their order.

    Totals are cut at whole minutes: one after the end, or after the beginning, of a period that was
    another one when the report was made is told apart by its minute only.
    """
    start_at = -(-period.start_at // MINUTE_US) * MINUTE_US // SECOND_US
    end_at = -(-period.end_at // MINUTE_US) * MINUTE_US // SECOND_US
    return [
        one
        for one in reports
        if start_at <= one.timestamp < end_at
        and (one.state is ReportState.DELIVERED or one.reason == StrayReason.TAKEN)
    ]


def told_to(stripe_item_id: str | None, reports: Iterable[UsageReport]) -> list[UsageReport]:
    """Return which reports make one figure of Stripe's: an item's, or without one the meter's."""
    return [one for one in reports if one.stripe_item_id == stripe_item_id]


def taken_back(reports: Iterable[UsageReport]) -> set[str]:
    """Return the identifiers that cancellations name which Stripe has, or may have or get."""
    counts = (ReportState.PENDING, ReportState.DELIVERED, ReportState.UNRESOLVED)
    return {one.cancels for one in reports if one.cancels is not None and one.state in counts}


def grace_us(way: ReportWay) -> int:
    """Return how long after a period's end Stripe still bills its usage."""
    return 0 if way is ReportWay.USAGE_RECORDS else CLOSED_PERIOD_GRACE_US


def park_reason(
    period: Period, now: int, way: ReportWay = ReportWay.METER_EVENTS
) -> ParkReason | None:
    """Return why usage of the period can no longer be billed through Stripe at ``now``, if so."""
    if period.end_at <= now - STRIPE_AGE_MAX_US + AGE_MARGIN_US:
        return ParkReason.TOO_OLD
    if period.end_at + grace_us(way) <= now:
        return ParkReason.PERIOD_CLOSED
    return None


def split_for_stripe(quantity: Decimal) -> tuple[Decimal, ...]:
    """Return the quantity in parts of at most 15 digits, the most that a meter event's value has.

    The parts add up to the quantity; a quantity that fits is its own only part.
    """
    with exact():
        places = decimals_of(quantity)
        step = Decimal(10) ** (DIGITS_MAX - places)  # the first value that would not fit
        parts = []
        rest = quantity
        limit = step - Decimal(1).scaleb(-places)
        while abs(rest) > limit:
            part = limit.copy_sign(rest)
            parts.append(part)
            rest -= part
        parts.append(rest)
    return tuple(parts)
