"""The mirror of Stripe's objects in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.domain.item_history import (
    END_OF_TIME,
    BilledUsage,
    ItemChange,
    ItemFacts,
    ItemReading,
    ItemState,
    KnownItem,
    PriceTerms,
)
from tallystick.domain.periods import Period
from tallystick.ports.mirror import (
    ItemPast,
    Kept,
    MirroredObject,
    ObjectKind,
    PresentItem,
)
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from tallystick.ports.mirror import ObjectReading
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("mirror")
OBJECTS_BATCH = 500
"""Objects read at once: a reader's snapshot is not held while they are worked on."""


class SqliteMirror:
    """``Mirror`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def keep(self, readings: Sequence[ObjectReading], run: int = 0) -> list[Kept]:
        """Keep readings, all or none, and say for each what it changed."""
        return self._database.write(
            lambda connection: [_keep(connection, reading, run) for reading in readings]
        ).result()

    def find(self, stripe_id: str) -> MirroredObject | None:
        """Return an object."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["find_object"], (stripe_id,)).fetchone()
        return _object(row) if row else None

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
            yield from (_object(row) for row in rows)
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

        def remember(connection: sqlite3.Connection) -> None:
            for item_id, subscription, customer, fact in past:
                connection.execute(
                    _SQL["know_item"], (item_id, subscription, customer, END_OF_TIME)
                )
                _keep_past(connection, event_id, item_id, fact)

        self._database.write(remember).result()

    def items(self, stripe_customer_id: str) -> list[KnownItem]:
        """Return the items that the customer has or had."""
        key = (stripe_customer_id,)
        with self._database.read() as connection:
            rows = connection.execute(_SQL["items_of_customer"], key).fetchall()
            pasts = connection.execute(_SQL["pasts_of_customer"], key).fetchall()
            billed = connection.execute(_SQL["billed_of_customer"], key).fetchall()
        return [
            KnownItem(row[0], row[1], stripe_customer_id, _facts(row, pasts, billed))
            for row in rows
        ]

    def prices(self) -> dict[str, PriceTerms]:
        """Return the terms of every price that is known."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["prices"])
            return {
                price_id: PriceTerms(price_id, meter_id, bool(is_metered))
                for price_id, meter_id, is_metered in rows
            }


def _keep(connection: sqlite3.Connection, reading: ObjectReading, run: int) -> Kept:
    standing = connection.execute(_SQL["standing"], (reading.stripe_id,)).fetchone()
    if standing and standing[:2] > (reading.as_of, reading.read_at):
        connection.execute(_SQL["seen_in_run"], (run, reading.stripe_id))
        return Kept.OLDER
    connection.execute(
        _SQL["keep_object"],
        (
            reading.stripe_id,
            reading.kind,
            reading.customer,
            reading.subscription,
            reading.test_clock,
            reading.is_open,
            reading.body,
            reading.api_version,
            reading.as_of,
            reading.read_at,
            run,
        ),
    )
    connection.executemany(_SQL["keep_price"], reading.prices)
    if reading.kind is ObjectKind.SUBSCRIPTION:
        _keep_items(connection, reading)
    for item_id, (span, price_id) in reading.billed:
        connection.execute(_SQL["keep_billed"], (item_id, span.start_at, span.end_at, price_id))
    if standing is None:
        return Kept.NEW
    return Kept.SAME if _is_same(standing[2], reading.body) else Kept.CHANGED


def _is_same(one: bytes | None, other: bytes | None) -> bool:
    """Tell whether two bodies say the same: a list and a single answer are spaced differently."""
    if one == other or one is None or other is None:
        return one == other
    return bool(msgspec.json.decode(one) == msgspec.json.decode(other))


def _keep_items(connection: sqlite3.Connection, reading: ObjectReading) -> None:
    """Keep a subscription's items; one that is not among them any more is there no more."""
    rows = connection.execute(_SQL["present_items"], (reading.stripe_id,)).fetchall()
    standing = {item_id: (_state(*state), since) for item_id, *state, since in rows}
    present = {item.stripe_item_id: item for item in reading.items}
    for item_id in standing.keys() - present.keys():
        present[item_id] = PresentItem(item_id, None, None, None)
    for item_id, item in present.items():
        was, since = standing.get(item_id, (None, END_OF_TIME))
        if was is not None and was != item.state:
            _keep_former(connection, item_id, was, since)
        is_first = item_id not in standing or was != item.state
        connection.execute(
            _SQL["keep_item"],
            (
                item_id,
                reading.stripe_id,
                reading.customer or "",
                *_columns(item.state),
                reading.seen_at if is_first else since,
                item.began_at,
                item.ended_at,
            ),
        )


def _keep_former(connection: sqlite3.Connection, item_id: str, was: ItemState, since: int) -> None:
    """Keep that an item was read in a state, and when: a clock that was not known leaves it open.

    No instant is made up then. One late in the period could lie after the item's removal.
    """
    if since == END_OF_TIME:
        source = f"read {was.stripe_price_id} {was.period.start_at} {was.period.end_at}"
        _keep_past(connection, source, item_id, ItemReading(since, was))
        return
    at = min(max(since, was.period.start_at), was.period.end_at - 1)
    _keep_past(connection, f"read {at}", item_id, ItemReading(at, was))


def _keep_past(
    connection: sqlite3.Connection, source: str, item_id: str, fact: ItemChange | ItemReading
) -> None:
    is_change = isinstance(fact, ItemChange)
    before, after = fact[1:] if isinstance(fact, ItemChange) else (fact.state, fact.state)
    connection.execute(
        _SQL["keep_past"],
        (source, item_id, fact.at, is_change, *_columns(before), *_columns(after)),
    )


def _facts(
    row: tuple[Any, ...], pasts: Iterable[tuple[Any, ...]], billed: Iterable[tuple[Any, ...]]
) -> ItemFacts:
    item_id, _, price_id, start_at, end_at, read_since, began_at, ended_at = row
    own = [past[1:] for past in pasts if past[0] == item_id]
    return ItemFacts(
        changes=tuple(
            ItemChange(at, _state(*rest[:3]), _state(*rest[3:]))
            for at, is_change, *rest in own
            if is_change
        ),
        readings=tuple(
            ItemReading(at, state)
            for at, is_change, *rest in own
            if not is_change and (state := _state(*rest[:3])) is not None
        ),
        billed=tuple(
            BilledUsage(Period(each[1], each[2]), each[3]) for each in billed if each[0] == item_id
        ),
        present=_state(price_id, start_at, end_at),
        read_since=read_since,
        began_at=began_at,
        ended_at=ended_at,
    )


def _state(price_id: str | None, start_at: int | None, end_at: int | None) -> ItemState | None:
    if price_id is None or start_at is None or end_at is None:
        return None
    return ItemState(price_id, Period(start_at, end_at))


def _columns(state: ItemState | None) -> tuple[str | None, int | None, int | None]:
    if state is None:
        return None, None, None
    return state.stripe_price_id, state.period.start_at, state.period.end_at


def _object(row: tuple[Any, ...]) -> MirroredObject:
    kind, *rest = row
    return MirroredObject(ObjectKind(kind), *rest)
