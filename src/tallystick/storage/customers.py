"""Customers and their subscription items on every backend: the statements are its own, what is done
with rows is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.item_history import metered_items
from tallystick.domain.subscriptions import CustomerLink
from tallystick.ports.errors import AlreadyLinked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.subscriptions import SubscriptionItem
    from tallystick.ports.mirror import Mirror, SyncLedger
    from tallystick.storage.database import Database


class StoredCustomerDirectory:
    """``CustomerDirectory`` on one database."""

    def __init__(self, database: Database, mirror: Mirror, ledger: SyncLedger) -> None:
        self._database = database
        self._sql = database.statements("customers")
        self._mirror = mirror
        self._ledger = ledger

    def link(self, links: Sequence[CustomerLink], now: int) -> int:
        """Join customers to Stripe customers and mark their usage due; return how many are new."""
        in_order = sorted(links, key=lambda link: link.customer)  # two never wait for each other

        def link_all(connection: Any) -> int:
            self._begin_marks(connection)
            return sum(self._link(connection, link, now) for link in in_order)

        return self._database.write(link_all)

    def _begin_marks(self, connection: Any) -> None:
        """See to it that what is marked due from now on has a mark of its own."""

    def _link(self, connection: Any, link: CustomerLink, now: int) -> bool:
        row = (link.customer, link.stripe_customer_id, link.test_clock_id, now)
        if connection.execute(self._sql["add_link"], row).rowcount:
            connection.execute(self._sql["mark_customer_due"], {"customer": link.customer})
            return True
        found = connection.execute(self._sql["link_of_customer"], (link.customer,)).fetchone()
        if found is None:
            (customer,) = connection.execute(
                self._sql["customer_of_link"], (link.stripe_customer_id,)
            ).fetchone() or ("another one",)
            raise AlreadyLinked(
                f"{link.stripe_customer_id} is linked to customer {customer!r} already"
            )
        if found[0] != link.stripe_customer_id:
            raise AlreadyLinked(f"customer {link.customer!r} is linked to {found[0]} already")
        return False

    def find(self, customer: str) -> CustomerLink | None:
        """Return the customer's link."""
        with self._database.read() as connection:
            row = connection.execute(self._sql["find_link"], (customer,)).fetchone()
        return CustomerLink(*row) if row else None

    def links(self) -> list[CustomerLink]:
        """Return every link, in the order of the customers."""
        with self._database.read() as connection:
            return [CustomerLink(*row) for row in connection.execute(self._sql["links"])]

    def items(self, stripe_customer_id: str) -> tuple[list[SubscriptionItem], int | None]:
        """Return the metered items, and when the customer's subscriptions were read last."""
        items = metered_items(self._mirror.items(stripe_customer_id), self._mirror.prices())
        return items, self._ledger.customer_read_at(stripe_customer_id)
