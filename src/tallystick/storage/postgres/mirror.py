"""The mirror of Stripe's objects in PostgreSQL."""

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
from tallystick.storage.postgres.locks import MIRROR_OBJECTS
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.ports.mirror import ItemPast, ObjectReading
    from tallystick.storage.postgres.database import Connection

_SQL = statements("mirror")


class PostgresMirror(MirrorReading):
    """``Mirror`` on one PostgreSQL database."""

    def keep(self, readings: Sequence[ObjectReading], run: int = 0) -> list[Kept]:
        """Keep readings, all or none, and say for each what it changed."""
        ids = [reading.stripe_id for reading in readings]
        terms = [each for reading in readings for each in reading.prices]
        prices = {
            "ids": [each.stripe_price_id for each in terms],
            "meters": [each.stripe_meter_id for each in terms],
            "metered": [each.is_metered for each in terms],
        }

        def keep(connection: Connection) -> list[Kept]:
            connection.execute(_SQL["lock_objects"], {"lock": MIRROR_OBJECTS, "ids": ids})
            if terms:
                connection.execute(_SQL["keep_prices"], prices)
            cut: set[str] = set()
            found = [_keep(connection, reading, run, cut) for reading in readings]
            _mark_due(connection, cut)
            return found

        return self._database.write(keep)

    def remember(self, event_id: str, past: Sequence[ItemPast]) -> None:
        """Keep what an event tells of items' pasts; an event that is known changes nothing."""
        known = [(item_id, sub, customer, END_OF_TIME) for item_id, sub, customer, _ in past]
        pasts = [past_row(event_id, item_id, fact) for item_id, _, _, fact in past]

        def remember(connection: Connection) -> None:
            connection.cursor().executemany(_SQL["know_item"], known)
            cursor = connection.cursor()
            cursor.executemany(_SQL["keep_past"], pasts)
            if cursor.rowcount > 0:
                _mark_due(connection, cut_customers(past))

        self._database.write(remember)


def _mark_due(connection: Connection, stripe_customer_ids: set[str]) -> None:
    """Have the reports of customers looked at whose periods may be others by now."""
    if stripe_customer_ids:
        connection.execute(_SQL["mark_sorted_due"], {"stripe_ids": sorted(stripe_customer_ids)})


def _keep(connection: Connection, reading: ObjectReading, run: int, cut: set[str]) -> Kept:
    """Keep a reading; note in ``cut`` the customer whose periods are others by now."""
    standing = connection.execute(_SQL["standing"], (reading.stripe_id,)).fetchone()
    if is_older(reading, standing):
        connection.execute(_SQL["seen_in_run"], (run, reading.stripe_id))
        return Kept.OLDER
    connection.execute(_SQL["keep_object"], object_row(reading, run))
    if reading.kind is ObjectKind.SUBSCRIPTION:
        present = connection.execute(_SQL["present_items"], (reading.stripe_id,)).fetchall()
        rows = item_rows(reading, present)
        connection.cursor().executemany(_SQL["keep_past"], rows.pasts)
        connection.cursor().executemany(_SQL["keep_item"], rows.items)
        if rows.cuts and reading.customer and kept(reading, standing) is not Kept.SAME:
            cut.add(reading.customer)
    for item_id, (span, price_id) in reading.billed:
        connection.execute(_SQL["keep_billed"], (item_id, span.start_at, span.end_at, price_id))
    return kept(reading, standing)
