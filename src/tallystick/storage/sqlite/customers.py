"""Customers and their subscription items in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
from tallystick.ports.errors import AlreadyLinked
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("customers")


class SqliteCustomerDirectory:
    """``CustomerDirectory`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def link(self, links: Sequence[CustomerLink], now: int) -> int:
        """Join customers to Stripe customers and mark their usage due; return how many are new."""
        return self._database.write(lambda connection: _link_all(connection, links, now)).result()

    def find(self, customer: str) -> CustomerLink | None:
        """Return the customer's link."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["find_link"], (customer,)).fetchone()
        return CustomerLink(*row) if row else None

    def links(self) -> list[CustomerLink]:
        """Return every link, in the order of the customers."""
        with self._database.read() as connection:
            return [CustomerLink(*row) for row in connection.execute(_SQL["links"])]

    def keep_items(
        self, stripe_customer_id: str, items: Sequence[SubscriptionItem], read_at: int
    ) -> None:
        """Keep what Stripe says are the customer's items; earlier periods stay known."""

        def keep(connection: sqlite3.Connection) -> None:
            connection.executemany(_SQL["keep_item"], [_item_row(item) for item in items])
            connection.execute(_SQL["items_read"], (read_at, stripe_customer_id))

        self._database.write(keep).result()

    def items(self, stripe_customer_id: str) -> tuple[list[SubscriptionItem], int | None]:
        """Return every known item and period, and when Stripe was last asked."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["items"], (stripe_customer_id,)).fetchall()
            found = connection.execute(_SQL["items_read_at"], (stripe_customer_id,)).fetchone()
        items = [
            SubscriptionItem(item, subscription, customer, price, meter, Period(start_at, end_at))
            for item, subscription, customer, price, meter, start_at, end_at in rows
        ]
        return items, found[0] if found else None


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


def _item_row(item: SubscriptionItem) -> tuple[str | int | None, ...]:
    return (
        item.stripe_item_id,
        item.period.start_at,
        item.period.end_at,
        item.stripe_subscription_id,
        item.stripe_customer_id,
        item.stripe_price_id,
        item.stripe_meter_id,
    )
