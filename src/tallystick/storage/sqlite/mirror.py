"""The mirror of Stripe's objects in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.item_history import END_OF_TIME
from tallystick.ports.mirror import Kept, ObjectKind
from tallystick.storage.mirror_reading import MirrorReading
from tallystick.storage.mirror_rows import (
    cut_customers,
    is_older,
    item_rows,
    kept,
    object_row,
    past_row,
)
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.ports.mirror import ItemPast, ObjectReading

_SQL = statements("mirror")


class SqliteMirror(MirrorReading):
    """``Mirror`` on one SQLite file."""

    def keep(self, readings: Sequence[ObjectReading], run: int = 0) -> list[Kept]:
        """Keep readings, all or none, and say for each what it changed."""

        def keep(connection: sqlite3.Connection) -> list[Kept]:
            cut: set[str] = set()
            found = [_keep(connection, reading, run, cut) for reading in readings]
            _mark_due(connection, cut)
            return found

        return self._database.write(keep)

    def remember(self, event_id: str, past: Sequence[ItemPast]) -> None:
        """Keep what an event tells of items' pasts; an event that is known changes nothing."""

        def remember(connection: sqlite3.Connection) -> None:
            news: list[ItemPast] = []
            for each in past:
                item_id, subscription, customer, fact = each
                connection.execute(
                    _SQL["know_item"], (item_id, subscription, customer, END_OF_TIME)
                )
                if connection.execute(
                    _SQL["keep_past"], past_row(event_id, item_id, fact)
                ).rowcount:
                    news.append(each)
            _mark_due(connection, cut_customers(news))

        self._database.write(remember)


def _mark_due(connection: sqlite3.Connection, stripe_customer_ids: set[str]) -> None:
    """Have the reports of customers looked at whose periods may be others by now."""
    if stripe_customer_ids:
        connection.execute(_SQL["next_mark"])  # whoever plans them now must not clear this
        marked = [{"stripe_id": id_} for id_ in stripe_customer_ids]
        connection.executemany(_SQL["mark_sorted_due"], marked)


def _keep(connection: sqlite3.Connection, reading: ObjectReading, run: int, cut: set[str]) -> Kept:
    """Keep a reading; note in ``cut`` the customer whose periods are others by now."""
    standing = connection.execute(_SQL["standing"], (reading.stripe_id,)).fetchone()
    if is_older(reading, standing):
        connection.execute(_SQL["seen_in_run"], (run, reading.stripe_id))
        return Kept.OLDER
    connection.execute(_SQL["keep_object"], object_row(reading, run))
    connection.executemany(_SQL["keep_price"], reading.prices)
    if reading.kind is ObjectKind.SUBSCRIPTION:
        rows = item_rows(reading, connection.execute(_SQL["present_items"], (reading.stripe_id,)))
        connection.executemany(_SQL["keep_past"], rows.pasts)
        connection.executemany(_SQL["keep_item"], rows.items)
        if rows.cuts and reading.customer and kept(reading, standing) is not Kept.SAME:
            cut.add(reading.customer)
    for item_id, (span, price_id) in reading.billed:
        connection.execute(_SQL["keep_billed"], (item_id, span.start_at, span.end_at, price_id))
    return kept(reading, standing)
