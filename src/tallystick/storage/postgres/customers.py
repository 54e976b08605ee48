"""Customers and their subscription items in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.item_history import metered_items
from tallystick.domain.subscriptions import CustomerLink
from tallystick.ports.errors import AlreadyLinked
from tallystick.storage.postgres.mirror import PostgresMirror
from tallystick.storage.postgres.statements import statements
from tallystick.storage.postgres.sync import PostgresSyncLedger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.subscriptions import SubscriptionItem
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("customers")


class PostgresCustomerDirectory:
    """``CustomerDirectory`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._mirror = PostgresMirror(database)
        self._ledger = PostgresSyncLedger(database)

    def link(self, links: Sequence[CustomerLink], now: int) -> int:
        """Join customers to Stripe customers and mark their usage due; return how many are new."""
        in_order = sorted(links, key=lambda link: link.customer)  # two never wait for each other
        return self._database.write(
            lambda connection: sum(_link(connection, link, now) for link in in_order)
        )

    def find(self, customer: str) -> CustomerLink | None:
        """Return the customer's link."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["find_link"], (customer,)).fetchone()
        return CustomerLink(*row) if row else None

    def links(self) -> list[CustomerLink]:
        """Return every link, in the order of the customers."""
        with self._database.read() as connection:
            return [CustomerLink(*row) for row in connection.execute(_SQL["links"])]

    def items(self, stripe_customer_id: str) -> tuple[list[SubscriptionItem], int | None]:
        """Return the metered items, and when the customer's subscriptions were read last."""
        items = metered_items(self._mirror.items(stripe_customer_id), self._mirror.prices())
        return items, self._ledger.customer_read_at(stripe_customer_id)


def _link(connection: Connection, link: CustomerLink, now: int) -> bool:
    row = (link.customer, link.stripe_customer_id, link.test_clock_id, now)
    if connection.execute(_SQL["add_link"], row).rowcount:
        connection.execute(_SQL["mark_customer_due"], {"customer": link.customer})
        return True
    found = connection.execute(_SQL["link_of_customer"], (link.customer,)).fetchone()
    if found is None:
        (customer,) = connection.execute(
            _SQL["customer_of_link"], (link.stripe_customer_id,)
        ).fetchone() or ("another one",)
        raise AlreadyLinked(f"{link.stripe_customer_id} is linked to customer {customer!r} already")
    if found[0] != link.stripe_customer_id:
        raise AlreadyLinked(f"customer {link.customer!r} is linked to {found[0]} already")
    return False
