"""How much was used: meter events and legacy usage records, summed over a half-open window."""

from __future__ import annotations

from bisect import bisect_left, insort
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.quantity import add_all
from tallystick.sandbox.arithmetic.calendar import floor_to_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import UsageWindow
    from tallystick.sandbox.state.records import Meter, MeterEvent, UsageRecord

ZERO = Decimal(0)
_WINDOW_S = {"hour": 3_600, "day": 86_400}


def _timestamp(thing: MeterEvent | UsageRecord) -> int:
    return thing.timestamp


def count_event(account: Account, meter: Meter, event: MeterEvent) -> None:
    """Add a processed meter event to its customer's usage, in order of its timestamp."""
    events = account.usage.setdefault((meter.id, event.customer), [])
    if not events or events[-1].timestamp <= event.timestamp:
        events.append(event)
    else:
        insort(events, event, key=_timestamp)


def events_between(
    account: Account, meter: str, customer: str, start: int, end: int
) -> list[MeterEvent]:
    """Return the events of [start, end) that were not cancelled."""
    events = account.usage.get((meter, customer))
    if not events:
        return []
    low = bisect_left(events, start, key=_timestamp)
    high = bisect_left(events, end, key=_timestamp)
    return [event for event in events[low:high] if not event.is_cancelled]


def aggregate(meter: Meter, events: Sequence[MeterEvent]) -> Decimal:
    """Return a meter's total of events in order of their timestamps.

    A meter with ``event_time_window`` keeps only the last received event of each UTC hour or day
    (DOC:meters/configure, pre-aggregated).
    """
    kept: Iterable[MeterEvent] = events
    if meter.event_time_window is not None:
        width_s = _WINDOW_S[meter.event_time_window]
        latest: dict[int, MeterEvent] = {}
        for event in sorted(events, key=lambda e: (e.received_at, e.counts_at)):
            latest[event.timestamp // width_s] = event
        kept = sorted(latest.values(), key=_timestamp)
    values = [event.value for event in kept]
    if meter.formula == "count":
        return Decimal(len(values))
    if meter.formula == "last":
        return values[-1] if values else ZERO
    return add_all(values)


def metered_quantity(
    account: Account, meter: Meter, customer: str, start: int, end: int
) -> Decimal:
    """Return what an invoice bills for [start, end).

    A daily pre-aggregated meter bills complete UTC days; the day of the boundary goes to the next
    invoice (insiders.stripe.dev, facts 2 "Grace").
    """
    if meter.event_time_window == "day":
        start, end = floor_to_day(start), floor_to_day(end)
    return aggregate(meter, events_between(account, meter.id, customer, start, end))


def recorded_quantity(account: Account, item: str, how: str, start: int, end: int) -> Decimal:
    """Return the total of an item's legacy usage records in [start, end).

    DOC:usage-based-legacy/recording-usage: ``last_ever`` carries into later periods.
    """
    records = account.usage_records.get(item, [])
    low = bisect_left(records, start, key=_timestamp)
    high = bisect_left(records, end, key=_timestamp)
    inside = records[low:high]
    if how == "last_ever":
        inside = records[:high]
        return Decimal(inside[-1].quantity) if inside else ZERO
    if not inside:
        return ZERO
    if how == "last_during_period":
        return Decimal(inside[-1].quantity)
    if how == "max":
        return Decimal(max(record.quantity for record in inside))
    return Decimal(sum(record.quantity for record in inside))


def window_quantity(account: Account, window: UsageWindow, span: tuple[int, int]) -> Decimal:
    """Return the usage of a subscription item in a window, from whichever way it reports."""
    price = account.prices.get(window.price)
    assert price is not None, "an item's price is never deleted"
    assert price.recurring is not None, "only recurring prices make items"
    if price.recurring.meter is None:
        how = price.recurring.aggregate_usage or "sum"
        return recorded_quantity(account, window.item, how, *span)
    meter = account.meters.get(price.recurring.meter)
    assert meter is not None, "meters are never deleted"
    return metered_quantity(account, meter, window.customer, *span)
