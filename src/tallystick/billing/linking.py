"""Joining your customers to Stripe's, one or all, and what is at stake until that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tallystick.billing.stripe_objects import Customer
from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import CustomerLink
from tallystick.ports.errors import AlreadyLinked, StripeRefused
from tallystick.ports.mirror import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from tallystick.billing.stripe_mirror import StripeMirror
    from tallystick.domain.meters import Meter
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CustomerDirectory
    from tallystick.ports.event_store import UsageReader
    from tallystick.ports.mirror import Mirror

ALL_TIME = Period(-(1 << 62), 1 << 62)

LINK_BATCH = 200
"""Links written at once: each marks its customer's usage due in the same transaction."""


class LinkRefusal(NamedTuple):
    """A pair that was not joined, and why."""

    customer: str
    stripe_customer_id: str
    reason: str


class Linked(NamedTuple):
    """What became of many pairs."""

    new: int
    known: int
    refused: tuple[LinkRefusal, ...]


class UsageAtStake(NamedTuple):
    """What a customer used that no Stripe customer is billed for, by meter, since ever."""

    customer: str
    quantities: tuple[tuple[str, Decimal], ...]
    events: int


class Linker:
    """Joins customers. Methods raise StripeUnreachable or StripeRefused where they ask Stripe."""

    def __init__(
        self,
        customers: CustomerDirectory,
        mirror: Mirror,
        stripe_mirror: StripeMirror,
        clock: Clock,
    ) -> None:
        self._customers = customers
        self._mirror = mirror
        self._stripe_mirror = stripe_mirror
        self._clock = clock

    def link(self, customer: str, stripe_customer_id: str) -> tuple[CustomerLink, bool]:
        """Join one customer, read anew at Stripe; return the link and whether it is new.

        Raises:
            AlreadyLinked
        """
        self._stripe_mirror.refresh(ObjectKind.CUSTOMER, stripe_customer_id)
        link = self._link_of(customer, stripe_customer_id)
        return link, bool(self._customers.link([link], self._clock.now()))

    def link_all(self, pairs: Iterable[tuple[str, str]]) -> Linked:
        """Join many; a pair that cannot be is refused alone."""
        found: list[CustomerLink] = []
        refused: list[LinkRefusal] = []
        for customer, stripe_customer_id in pairs:
            try:
                found.append(self._link_of(customer, stripe_customer_id))
            except StripeRefused as error:
                refused.append(LinkRefusal(customer, stripe_customer_id, str(error)))
        new = 0
        for first in range(0, len(found), LINK_BATCH):
            new += self._join(found[first : first + LINK_BATCH], refused)
        return Linked(new, len(found) - new - _conflicts(refused, found), tuple(refused))

    def by_metadata(self, key: str) -> Iterator[tuple[str, str]]:
        """Yield pairs out of the mirror: your customer's id stands in Stripe's metadata."""
        for known in self._mirror.objects(ObjectKind.CUSTOMER):
            assert known.body is not None  # those that are gone are left out
            shown = msgspec.json.decode(known.body, type=Customer)
            if shown.metadata.get(key):
                yield shown.metadata[key], shown.id

    def _join(self, links: list[CustomerLink], refused: list[LinkRefusal]) -> int:
        try:
            return self._customers.link(links, self._clock.now())
        except AlreadyLinked as error:
            if len(links) == 1:
                (one,) = links
                refused.append(LinkRefusal(one.customer, one.stripe_customer_id, str(error)))
                return 0
            return sum(self._join([one], refused) for one in links)

    def _link_of(self, customer: str, stripe_customer_id: str) -> CustomerLink:
        known = self._mirror.find(stripe_customer_id)
        if known is None:
            self._stripe_mirror.refresh(ObjectKind.CUSTOMER, stripe_customer_id)
            known = self._mirror.find(stripe_customer_id)
        if known is None or known.body is None:
            raise StripeRefused(f"Stripe has no customer {stripe_customer_id}")
        shown = msgspec.json.decode(known.body, type=Customer)
        return CustomerLink(customer, stripe_customer_id, shown.test_clock)


def _conflicts(refused: list[LinkRefusal], found: list[CustomerLink]) -> int:
    tried = {(link.customer, link.stripe_customer_id) for link in found}
    return sum((one.customer, one.stripe_customer_id) in tried for one in refused)


def unlinked_usage(
    customers: CustomerDirectory, usage: UsageReader, meters: Iterable[Meter]
) -> Iterator[UsageAtStake]:
    """Yield customers with usage and without a link, in order, with all that they used and that
    Stripe would be told of.
    """
    declared = list(meters)
    linked = {link.customer for link in customers.links()}
    for customer in usage.customers():
        if customer in linked:
            continue
        known = [(meter, usage.usage_and_history(meter, customer, ALL_TIME)) for meter in declared]
        used = [(meter, measured) for meter, measured in known if measured.live_count]
        yield UsageAtStake(
            customer,
            tuple((meter.key, measured.reportable(meter.aggregation)) for meter, measured in used),
            max((measured.live_count for _, measured in used), default=0),
        )
