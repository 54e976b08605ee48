"""Whose events may not be archived yet: an open period, or usage that is not settled at Stripe."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.periods import Period

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from tallystick.domain.meters import Meter
    from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
    from tallystick.ports.archive import ArchiveLedger
    from tallystick.ports.directory import CatalogStore, CustomerDirectory, RecordPrices
    from tallystick.ports.event_store import UsageReader
    from tallystick.ports.outbox import Due, ReportBook

DUE_BATCH = 10_000
"""Due customers and meters read at once."""

_FIRST_AT = -(1 << 62)
_LAST_AT = 1 << 62


class HoldReason(StrEnum):
    """Why events must stay."""

    OPEN_PERIOD = "open_period"
    """A billing period of the customer is not over."""
    UNREPORTED = "unreported"
    """Some usage is not reported: not yet, or it lies in no billing period that is known."""
    UNVERIFIED = "unverified"
    """A report is on its way, not confirmed by Stripe's totals, or waits for a decision."""
    UNLINKED = "unlinked"
    """The customer is not linked to a Stripe customer, so that no usage is reported."""


class Hold(NamedTuple):
    """A time whose events of a customer must stay, and why."""

    period: Period
    reason: HoldReason


class ArchiveHolds:
    """Tells holds, as they are known here; Stripe is only asked for the time of test clocks.

    One of these serves one run: what subscriptions were is read once for each customer.
    """

    def __init__(
        self,
        *,
        ledger: ArchiveLedger,
        book: ReportBook,
        usage: UsageReader,
        catalog: CatalogStore,
        record_prices: RecordPrices,
        customers: CustomerDirectory,
        now_of: Callable[[CustomerLink], int],
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._usage = usage
        self._catalog = catalog
        self._record_prices = record_prices
        self._customers = customers
        self._now_of = now_of
        self._items: dict[str, tuple[int, list[SubscriptionItem]] | None] = {}
        self._unreported: dict[Due, list[Period]] = {}
        self._due: dict[str, list[Due]] = {}
        self._unsettled: dict[str, list[Period]] = {}

    def refresh(self) -> None:
        """Read what is due and what is unsettled.

        After the events that shall be archived: what was looked at by then is due, reported, or
        settled now. What is due is read first, because planning a report turns one into the other.
        """
        self._due = {}
        after = None
        while batch := self._book.due(after, None, DUE_BATCH):
            for due in batch:
                self._due.setdefault(due.customer, []).append(due)
            after = batch[-1]
        self._unsettled = self._ledger.unsettled()

    def reason(self, customer: str, day: Period) -> HoldReason | None:
        """Return why a customer's events of a day must stay; None if they may go.

        Raises:
            StripeUnreachable, StripeRefused: the customer's test clock could not be read.
        """
        held = (hold.reason for hold in self._holds(customer) if hold.period.overlaps(day))
        return next(held, None)

    def _holds(self, customer: str) -> Iterator[Hold]:
        known = self._known(customer)
        now, items = known or (0, [])
        for item in items:
            if item.period.end_at > now:
                yield Hold(item.period, HoldReason.OPEN_PERIOD)
        for period in self._unsettled.get(customer, ()):
            yield Hold(period, HoldReason.UNVERIFIED)
        reason = HoldReason.UNLINKED if known is None else HoldReason.UNREPORTED
        for due in self._due.get(customer, ()):
            for period in self._unreported_in(due):
                yield Hold(period, reason)

    def _known(self, customer: str) -> tuple[int, list[SubscriptionItem]] | None:
        """Return the customer's present and items; None if it is not linked."""
        if customer not in self._items:
            link = self._customers.find(customer)
            self._items[customer] = None
            if link is not None:
                items, _ = self._customers.items(link.stripe_customer_id)
                self._items[customer] = (self._now_of(link), items)
        return self._items[customer]

    def _unreported_in(self, due: Due) -> list[Period]:
        """Return the times with usage of a customer and meter that is not reported.

        Whatever is stored after this is marked due anew.
        """
        if due not in self._unreported:
            meter = self._catalog.meters().by_key[due.meter_key]
            now, items = self._known(due.customer) or (0, [])
            periods = sorted({item.period for item in items if self._bills(item, meter)})
            self._unreported[due] = [
                period
                for period in periods
                if period.end_at <= now
                and self._measured(meter, due.customer, period)
                != self._book.reported(due.customer, meter.key, period).quantity
            ]
            self._unreported[due] += [
                gap
                for gap in _gaps(periods)
                if self._usage.usage_and_history(meter, due.customer, gap).live_count
            ]
        return self._unreported[due]

    def _measured(self, meter: Meter, customer: str, period: Period) -> Decimal:
        measured = self._usage.usage_and_history(meter, customer, period)
        return measured.reportable(meter.aggregation)

    def _bills(self, item: SubscriptionItem, meter: Meter) -> bool:
        if item.stripe_meter_id is None:
            return item.stripe_price_id in self._record_prices.record_aggregations(meter.key)
        return item.stripe_meter_id == self._catalog.stripe_meter_ids().get(meter.key)


def _gaps(periods: list[Period]) -> Iterator[Period]:
    """Return the time that belongs to none of the periods, which are in order."""
    covered_upto = _FIRST_AT
    for period in [*periods, Period(_LAST_AT, _LAST_AT + 1)]:
        if covered_upto < period.start_at:
            yield Period(covered_upto, period.start_at)
        covered_upto = max(covered_upto, period.end_at)
