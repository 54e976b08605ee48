"""Which billing periods a customer's usage of a meter falls into, as Stripe says."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.instants import HOUR_US

if TYPE_CHECKING:
    from tallystick.domain.periods import Period
    from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.stripe import SubscriptionReader

ITEMS_AGE_MAX_US = HOUR_US
"""How long what Stripe said of a customer's items is taken for true without asking again."""


class MeterPeriods(NamedTuple):
    """The billing periods of one customer and meter that are known, oldest first, on its clock.

    ``conflict`` is set where two items of the meter have periods that overlap without being equal.
    """

    now: int
    periods: tuple[Period, ...]
    conflict: bool = False


class BillingPeriods:
    """What Stripe knows of customers' items and clocks, asked for where it is unknown or outdated.

    One of these serves one run: a test clock is read once in it. Thread-safe.
    """

    def __init__(
        self,
        customers: CustomerDirectory,
        catalog: CatalogStore,
        reader: SubscriptionReader,
        clock: Clock,
    ) -> None:
        self._customers = customers
        self._catalog = catalog
        self._reader = reader
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
                shown = self._reader.test_clock_now(link.test_clock_id)
                self._test_clocks[link.test_clock_id] = shown
            return self._test_clocks[link.test_clock_id]

    def items(self, link: CustomerLink, now: int) -> list[SubscriptionItem]:
        """Return the customer's metered items with every period known, oldest first.

        Raises:
            StripeUnreachable, StripeRefused
        """
        items, read_at = self._customers.items(link.stripe_customer_id)
        is_outdated = read_at is None or self._clock.now() - read_at > ITEMS_AGE_MAX_US
        if is_outdated or all(item.period.end_at <= now for item in items):
            fresh = self._reader.items(link.stripe_customer_id)
            self._customers.keep_items(link.stripe_customer_id, fresh, self._clock.now())
            items, _ = self._customers.items(link.stripe_customer_id)
        return items

    def of_meter(self, link: CustomerLink, meter_key: str) -> MeterPeriods:
        """Return the billing periods of one meter.

        Raises:
            StripeUnreachable, StripeRefused
        """
        now = self.now_of(link)
        stripe_meter_id = self._catalog.stripe_meter_ids().get(meter_key)
        periods = sorted(
            {
                item.period
                for item in self.items(link, now)
                if item.stripe_meter_id == stripe_meter_id
            }
        )
        overlapping = any(later.overlaps(earlier) for earlier, later in pairwise(periods))
        return MeterPeriods(now, tuple(periods), overlapping)
