"""The mirror of Stripe's objects in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.item_history import END_OF_TIME, PriceTerms
from tallystick.ports.mirror import Kept, ObjectKind
from tallystick.storage.mirror_rows import (
    is_older,
    item_rows,
    kept,
    known_items,
    object_of,
    object_row,
    past_row,
)
from tallystick.storage.postgres.locks import MIRROR_OBJECTS
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallystick.domain.item_history import KnownItem
    from tallystick.ports.mirror import ItemPast, MirroredObject, ObjectReading
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("mirror")
OBJECTS_BATCH = 500
"""Objects read at once: a reader's snapshot is not held while they are worked on."""


class PostgresMirror:
    """``Mirror`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

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
            return [_keep(connection, reading, run) for reading in readings]

        return self._database.write(keep)

    def find(self, stripe_id: str) -> MirroredObject | None:
        """Return an object."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["find_object"], (stripe_id,)).fetchone()
        return object_of(row) if row else None

    def objects(
        self, kind: ObjectKind, *, only_open: bool = False, unseen_in: int | None = None
    ) -> Iterator[MirroredObject]:
        """Return the objects of a kind that are not gone, in the order of their ids."""
        after = ""
        while True:
            parameters = {
                "kind": kind,
                "after": after,
                "only_open": only_open,
                "unseen_in": unseen_in,
                "limit": OBJECTS_BATCH,
            }
            with self._database.read() as connection:
                rows = connection.execute(_SQL["objects"], parameters).fetchall()
            yield from (object_of(row) for row in rows)
            if len(rows) < OBJECTS_BATCH:
                return
            after = rows[-1][1]

    def related(self, kind: ObjectKind, *, customer: str = "", clock: str = "") -> list[str]:
        """Return the ids of a customer's objects of a kind, or of those on a test clock."""
        statement = _SQL["ids_of_customer"] if customer else _SQL["ids_on_clock"]
        with self._database.read() as connection:
            rows = connection.execute(statement, (customer or clock, kind))
            return [stripe_id for (stripe_id,) in rows]

    def remember(self, event_id: str, past: Sequence[ItemPast]) -> None:
        """Keep what an event tells of items' pasts; an event that is known changes nothing."""
        known = [(item_id, sub, customer, END_OF_TIME) for item_id, sub, customer, _ in past]
        pasts = [past_row(event_id, item_id, fact) for item_id, _, _, fact in past]

        def remember(connection: Connection) -> None:
            connection.cursor().executemany(_SQL["know_item"], known)
            connection.cursor().executemany(_SQL["keep_past"], pasts)

        self._database.write(remember)

    def items(self, stripe_customer_id: str) -> list[KnownItem]:
        """Return the items that the customer has or had."""
        key = (stripe_customer_id,)
        with self._database.read() as connection:
            rows = connection.execute(_SQL["items_of_customer"], key).fetchall()
            pasts = connection.execute(_SQL["pasts_of_customer"], key).fetchall()
            billed = connection.execute(_SQL["billed_of_customer"], key).fetchall()
        return known_items(stripe_customer_id, rows, pasts, billed)

    def prices(self) -> dict[str, PriceTerms]:
        """Return the terms of every price that is known."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["prices"])
            return {terms.stripe_price_id: terms for terms in (PriceTerms(*row) for row in rows)}


def _keep(connection: Connection, reading: ObjectReading, run: int) -> Kept:
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
    for item_id, (span, price_id) in reading.billed:
        connection.execute(_SQL["keep_billed"], (item_id, span.start_at, span.end_at, price_id))
    return kept(reading, standing)
