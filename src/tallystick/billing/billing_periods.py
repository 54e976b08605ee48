"""Which billing periods a customer's usage of a meter falls into, as the mirror knows."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.instants import HOUR_US
from tallystick.domain.item_history import billing_spans, item_segments, metered_items

if TYPE_CHECKING:
    from tallystick.billing.stripe_mirror import StripeMirror
    from tallystick.domain.item_history import KnownItem, PriceTerms
    from tallystick.domain.periods import Period
    from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.mirror import Mirror, SyncLedger

READING_AGE_MAX_US = HOUR_US
"""How long the mirror is believed without a sweep or a reading of the customer: webhooks may have
been lost, or there are none."""


class MeterPeriods(NamedTuple):
    """The billing periods of one customer and meter that are known, oldest first, on its clock.

    ``conflict`` is set where two items of the meter have periods that overlap without being equal.
    """

    now: int
    periods: tuple[Period, ...]
    conflict: bool = False


class BillingPeriods:
    """What the mirror knows of customers' items and clocks; read anew where it may be outdated.

    One of these serves one run: a test clock is read once in it. Thread-safe.
    """

    def __init__(
        self,
        mirror: Mirror,
        ledger: SyncLedger,
        catalog: CatalogStore,
        stripe_mirror: StripeMirror,
        clock: Clock,
    ) -> None:
        self._mirror = mirror
        self._ledger = ledger
        self._catalog = catalog
        self._stripe_mirror = stripe_mirror
        self._clock = clock
        self._test_clocks: dict[str, int] = {}
        self._reading = threading.Lock()

    def now_of(self, link: CustomerLink) -> int:
        """Return the customer's present: that of its test clock, or ours.

        Raises:
            StripeUnreachable, StripeRefused
        """
        if link.test_clock_id is None:
            return self._clock.now()
        with self._reading:
            if link.test_clock_id not in self._test_clocks:
                shown = self._stripe_mirror.test_clock_now(link.test_clock_id)
                self._test_clocks[link.test_clock_id] = shown
            return self._test_clocks[link.test_clock_id]

    def items(self, link: CustomerLink, now: int) -> list[SubscriptionItem]:
        """Return the customer's metered items, one for each price and period that each had.

        Raises:
            StripeUnreachable, StripeRefused
        """
        known = self._known(link, now)
        return metered_items(known, self._mirror.prices())

    def of_meter(self, link: CustomerLink, meter_key: str) -> MeterPeriods:
        """Return the billing periods of one meter.

        Raises:
            StripeUnreachable, StripeRefused
        """
        now = self.now_of(link)
        stripe_meter_id = self._catalog.stripe_meter_ids().get(meter_key)
        items = self._known(link, now)
        prices = self._mirror.prices()
        spans: set[Period] = set()
        for item in items:
            spans.update(
                billing_spans(
                    [
                        segment
                        for segment in item_segments(item.facts)
                        if _bills(prices.get(segment.state.stripe_price_id), stripe_meter_id)
                    ]
                )
            )
        periods = sorted(spans)
        overlapping = any(later.overlaps(earlier) for earlier, later in pairwise(periods))
        return MeterPeriods(now, tuple(periods), overlapping)

    def _known(self, link: CustomerLink, now: int) -> list[KnownItem]:
        """Return the customer's items; read at Stripe if they may have changed unnoticed."""
        items = self._mirror.items(link.stripe_customer_id)
        presents = [item.facts.present for item in items]
        are_over = all(state is None or state.period.end_at <= now for state in presents)
        if self._is_outdated(link) or are_over:
            began_at = self._clock.now()
            self._stripe_mirror.read_subscriptions(link.stripe_customer_id)
            self._ledger.customer_read(link.stripe_customer_id, began_at)
            items = self._mirror.items(link.stripe_customer_id)
        return items

    def _is_outdated(self, link: CustomerLink) -> bool:
        read_at = self._ledger.customer_read_at(link.stripe_customer_id)
        state = self._ledger.state()
        if state.synced_at is not None:
            # all were read then; sweeps have kept them since
            known = (read_at, state.synced_at, state.swept_at)
            read_at = max(at for at in known if at is not None)
        return read_at is None or self._clock.now() - read_at > READING_AGE_MAX_US


def _bills(terms: PriceTerms | None, stripe_meter_id: str | None) -> bool:
    return terms is not None and terms.is_metered and terms.stripe_meter_id == stripe_meter_id
