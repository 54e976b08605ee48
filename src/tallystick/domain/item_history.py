"""Which price and billing period a subscription item had at any past instant.

Stripe shows an item as it is, not as it was. What it was is put together from facts: changes that
Stripe's events tell (the item before and after), readings of the item at some instant, and the
periods of billed usage on invoice lines. Facts are worth the same in whatever order they came;
periods are always Stripe's own figures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import SubscriptionItem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

END_OF_TIME = 1 << 62


@dataclass(frozen=True, slots=True)
class ItemState:
    """What an item bills: its price, and the billing period that it is in."""

    stripe_price_id: str
    period: Period


class ItemChange(NamedTuple):
    """At an instant an item came to be something else; None stands for not being there."""

    at: int
    before: ItemState | None
    after: ItemState | None


class ItemReading(NamedTuple):
    """An item was seen in a state at an instant; the instant may be some seconds off.

    It is END_OF_TIME where nobody knows when that was on the customer's clock.
    """

    at: int
    state: ItemState


class BilledUsage(NamedTuple):
    """An invoice line that billed an item's usage over a time, at a price."""

    span: Period
    stripe_price_id: str


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """All that is known of one item.

    ``present`` is the item as it was read last, None where it is there no more; ``read_since`` is
    when it was first read like that. ``began_at`` is set for an item that was added to its
    subscription later, ``ended_at`` once its subscription is over: nothing was before or is after.
    """

    changes: tuple[ItemChange, ...] = ()
    readings: tuple[ItemReading, ...] = ()
    billed: tuple[BilledUsage, ...] = ()
    present: ItemState | None = None
    read_since: int = END_OF_TIME
    began_at: int | None = None
    ended_at: int | None = None


class PriceTerms(NamedTuple):
    """What of a price never changes; ``stripe_meter_id`` is None for usage records and licences."""

    stripe_price_id: str
    stripe_meter_id: str | None
    is_metered: bool


class KnownItem(NamedTuple):
    """A subscription item of a customer, with everything that is known of it."""

    stripe_item_id: str
    stripe_subscription_id: str
    stripe_customer_id: str
    facts: ItemFacts


class ItemSegment(NamedTuple):
    """A stretch of time, ``span``, in which an item had one price, in one billing period."""

    span: Period
    state: ItemState


class _Known(NamedTuple):
    """What was true just before an instant, and from it on."""

    at: int
    before: ItemState | None
    after: ItemState | None


def item_segments(facts: ItemFacts) -> tuple[ItemSegment, ...]:
    """Return what is known of an item's past and present, oldest first, without overlaps.

    The last segment reaches to the end of the present period. Where nothing is known, nothing is
    returned.
    """
    known = _explained(facts)
    marks = _marks(facts, known)
    if facts.began_at is not None:
        marks = [facts.began_at, *(at for at in marks if at > facts.began_at)]
    if facts.ended_at is not None:
        marks = [*(at for at in marks if at < facts.ended_at), facts.ended_at]
    found: list[ItemSegment] = []
    for start_at, end_at in pairwise(marks):
        state = _state_at(facts, known, start_at)
        if state is not None:
            found.append(ItemSegment(Period(start_at, end_at), state))
    return tuple(_joined(found))


def state_at(facts: ItemFacts, at: int) -> ItemState | None:
    """Return what the item was at an instant, None where it was not there or nobody knows."""
    return next((state for span, state in item_segments(facts) if at in span), None)


def metered_items(
    items: Iterable[KnownItem], prices: Mapping[str, PriceTerms]
) -> list[SubscriptionItem]:
    """Return the metered among items, one for each price and period that each had, oldest first."""
    found = []
    for item in items:
        for span, state in item_segments(item.facts):
            terms = prices.get(state.stripe_price_id)
            if terms is not None and terms.is_metered:
                found.append(
                    SubscriptionItem(
                        stripe_item_id=item.stripe_item_id,
                        stripe_subscription_id=item.stripe_subscription_id,
                        stripe_customer_id=item.stripe_customer_id,
                        stripe_price_id=state.stripe_price_id,
                        stripe_meter_id=terms.stripe_meter_id,
                        period=span,
                        cycle=state.period,
                    )
                )
    return sorted(found, key=lambda item: (item.period, item.stripe_item_id))


def billing_spans(segments: Sequence[ItemSegment]) -> tuple[Period, ...]:
    """Return the billing periods of an item as far as it was there, oldest first.

    A change of the price inside a period does not divide it: its usage is one total at Stripe's
    meter. An item that was added, removed or moved to another cycle has shorter ones.
    """
    spans: list[Period] = []
    last: Period | None = None
    for span, state in segments:
        if last == state.period and spans[-1].end_at == span.start_at:
            spans[-1] = Period(spans[-1].start_at, span.end_at)
        else:
            spans.append(span)
        last = state.period
    return tuple(spans)


def _explained(facts: ItemFacts) -> list[_Known]:
    """Return changes and those readings that changes do not explain, by instant.

    A reading explains nothing further if it shows a step of changes of its very instant: what came
    of them is told by the changes.
    """
    changes = sorted(facts.changes, key=lambda change: change.at)
    known: list[_Known] = []
    circles: list[int] = []
    for at, group in groupby(changes, key=lambda change: change.at):
        together = list(group)
        chained = _chained(at, together)
        if chained is None:
            states = {change.before for change in together}
            last = known[-1].after if known and not circles else together[0].before
            state = last if last in states else together[0].before
            chained = _Known(at, state, state)
            if not known or circles:
                circles.append(len(known))
        else:
            _settle_circles(known, circles, chained.before)
        known.append(chained)
    _settle_circles(known, circles, facts.present)
    steps = {(each.at, state) for each in changes for state in (each.before, each.after)}
    for reading in sorted(_dated(facts), key=lambda reading: reading.at):
        if (reading.at, reading.state) in steps:
            continue
        earlier = [each for each in known if each.at <= reading.at]
        later = [each for each in known if each.at > reading.at]
        is_explained = bool(earlier and later) and earlier[-1].after == later[0].before
        if not is_explained:
            known = [*earlier, _Known(reading.at, reading.state, reading.state), *later]
    return known


def _dated(facts: ItemFacts) -> list[ItemReading]:
    """Return readings with their instants.

    One of an unknown instant tells nothing where a change tells of its state, and when that was.
    Otherwise the state is taken to have lasted until the present was read, or its period was over.
    """
    told = {state for change in facts.changes for state in (change.before, change.after)}
    dated = []
    for at, state in facts.readings:
        if at != END_OF_TIME:
            dated.append(ItemReading(at, state))
        elif state not in told:
            until = min(facts.read_since, state.period.end_at - 1)
            dated.append(ItemReading(max(until, state.period.start_at), state))
    return dated


def _settle_circles(known: list[_Known], circles: list[int], then: ItemState | None) -> None:
    """Settle circles before which nothing is known: they began with what came after them."""
    for place in circles:
        known[place] = _Known(known[place].at, then, then)
    circles.clear()


def _chained(at: int, changes: list[ItemChange]) -> _Known | None:
    """Return what several changes of one instant make together, whatever order they came in.

    Each starts from where another one ends. A circle leads back to where it began, which they do
    not tell: None.
    """
    balance: Counter[ItemState | None] = Counter()
    for change in changes:
        balance[change.before] += 1
        balance[change.after] -= 1
    firsts = [state for state, count in balance.items() if count > 0]
    lasts = [state for state, count in balance.items() if count < 0]
    return _Known(at, firsts[0], lasts[0]) if firsts and lasts else None


def _marks(facts: ItemFacts, known: list[_Known]) -> list[int]:
    """Return every instant at which something may begin or end, in order."""
    states = [state for each in known for state in (each.before, each.after)] + [facts.present]
    periods = [state.period for state in states if state is not None]
    periods += [billed.span for billed in facts.billed]
    marks = {each.at for each in known}
    marks.update(at for period in periods for at in (period.start_at, period.end_at))
    if facts.read_since != END_OF_TIME:
        marks.add(facts.read_since)
    return sorted(marks)


def _state_at(facts: ItemFacts, known: list[_Known], at: int) -> ItemState | None:
    before = next((each for each in reversed(known) if each.at <= at), None)
    after = next((each for each in known if each.at > at), None)
    then = after.before if after else facts.present
    if before is None:
        return _if_holds(then, at) or _billed_at(facts, at)
    if before.after == then:
        return _if_holds(then, at)
    return _between(facts, before.after, then, at, is_last=after is None)


def _between(
    facts: ItemFacts, was: ItemState | None, then: ItemState | None, at: int, *, is_last: bool
) -> ItemState | None:
    """Return the state between two known ones that differ: a change that no event told."""
    billed = _billed_at(facts, at)
    if was is None:  # it came later than we heard of it
        return _if_holds(then, at)
    if billed is not None:
        for each in (was, then):
            if each and each.stripe_price_id == billed.stripe_price_id and at in each.period:
                return each
        return billed
    if at not in was.period:
        return _if_holds(then, at)
    has_new_period = (
        then is not None
        and then.stripe_price_id == was.stripe_price_id
        and was.period.start_at < then.period.start_at <= at
    )
    if has_new_period or (is_last and at >= facts.read_since):
        return _if_holds(then, at)
    return was


def _if_holds(state: ItemState | None, at: int) -> ItemState | None:
    return state if state is not None and at in state.period else None


def _billed_at(facts: ItemFacts, at: int) -> ItemState | None:
    for span, stripe_price_id in facts.billed:
        if at in span:
            return ItemState(stripe_price_id, span)
    return None


def _joined(found: Iterable[ItemSegment]) -> list[ItemSegment]:
    """Return segments joined where they touch and say the same.

    A period whose end was moved (a longer trial) keeps its start: what was said of it before is
    said anew, with the end that came true.
    """
    joined: list[ItemSegment] = []
    for span, state in found:
        last = joined[-1] if joined else None
        same_start = (
            last is not None
            and last.span.end_at == span.start_at
            and last.state.stripe_price_id == state.stripe_price_id
            and last.state.period.start_at == state.period.start_at
        )
        if last is not None and same_start:
            joined[-1] = ItemSegment(Period(last.span.start_at, span.end_at), state)
        else:
            joined.append(ItemSegment(span, state))
    return joined
