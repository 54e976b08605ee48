"""How every backend reads the mirror: the statements are its own, what is done with rows is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.item_history import PriceTerms
from tallystick.storage.mirror_rows import known_items, object_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.domain.item_history import KnownItem
    from tallystick.ports.mirror import MirroredObject, ObjectKind
    from tallystick.storage.database import Database

OBJECTS_BATCH = 500
"""Objects read at once: a reader's snapshot is not held while they are worked on."""


class MirrorReading:
    """The reading half of ``Mirror``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("mirror")

    def find(self, stripe_id: str) -> MirroredObject | None:
        """Return an object."""
        with self._database.read() as connection:
            row = connection.execute(self._sql["find_object"], (stripe_id,)).fetchone()
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
                rows = connection.execute(self._sql["objects"], parameters).fetchall()
            yield from (object_of(row) for row in rows)
            if len(rows) < OBJECTS_BATCH:
                return
            after = rows[-1][1]

    def related(self, kind: ObjectKind, *, customer: str = "", clock: str = "") -> list[str]:
        """Return the ids of a customer's objects of a kind, or of those on a test clock."""
        statement = self._sql["ids_of_customer"] if customer else self._sql["ids_on_clock"]
        with self._database.read() as connection:
            rows = connection.execute(statement, (customer or clock, kind))
            return [stripe_id for (stripe_id,) in rows]

    def items(self, stripe_customer_id: str) -> list[KnownItem]:
        """Return the items that the customer has or had."""
        key = (stripe_customer_id,)
        with self._database.read() as connection:
            rows = connection.execute(self._sql["items_of_customer"], key).fetchall()
            pasts = connection.execute(self._sql["pasts_of_customer"], key).fetchall()
            billed = connection.execute(self._sql["billed_of_customer"], key).fetchall()
        return known_items(stripe_customer_id, rows, pasts, billed)

    def prices(self) -> dict[str, PriceTerms]:
        """Return the terms of every price that is known."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql["prices"])
            return {
                price_id: PriceTerms(price_id, meter_id, bool(is_metered))
                for price_id, meter_id, is_metered in rows
            }
