"""Customers and their subscription items in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.item_history import metered_items
from tallystick.domain.subscriptions import CustomerLink
from tallystick.ports.errors import AlreadyLinked
from tallystick.storage.sqlite.mirror import SqliteMirror
from tallystick.storage.sqlite.statements import statements
from tallystick.storage.sqlite.sync import SqliteSyncLedger

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.domain.subscriptions import SubscriptionItem
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("customers")


class SqliteCustomerDirectory:
    """``CustomerDirectory`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._mirror = SqliteMirror(database)
        self._ledger = SqliteSyncLedger(database)

    def link(self, links: Sequence[CustomerLink], now: int) -> int:
        """Join customers to Stripe customers and mark their usage due; return how many are new."""
        return self._database.write(lambda connection: _link_all(connection, links, now))

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


def _link_all(connection: sqlite3.Connection, links: Sequence[CustomerLink], now: int) -> int:
    connection.execute(_SQL["next_mark"])
    return sum(_link(connection, link, now) for link in links)


def _link(connection: sqlite3.Connection, link: CustomerLink, now: int) -> bool:
    found = connection.execute(_SQL["link_of_customer"], (link.customer,)).fetchone()
    if found:
        if found[0] == link.stripe_customer_id:
            return False
        raise AlreadyLinked(f"customer {link.customer!r} is linked to {found[0]} already")
    found = connection.execute(_SQL["customer_of_link"], (link.stripe_customer_id,)).fetchone()
    if found:
        raise AlreadyLinked(f"{link.stripe_customer_id} is linked to customer {found[0]!r} already")
    connection.execute(
        _SQL["add_link"], (link.customer, link.stripe_customer_id, link.test_clock_id, now)
    )
    connection.execute(_SQL["mark_customer_due"], (link.customer,))
    return True
