"""Places in the log do not commit in order; whoever reads it in order misses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tallystick.domain.events import identity_of
from tallystick.storage.postgres.database import connect
from tallystick.storage.postgres.event_log import complete_upto
from tests.postgres.stores import NOW, Store, event, opened

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    """A server on a new database."""
    with opened(postgres_url) as made:
        yield made


def begin_append(store: Store, event_id: str) -> psycopg.Connection[tuple[object, ...]]:
    """Append in a transaction that stays open, as a server that is slow to commit has it."""
    connection = connect(store.database.url)
    connection.execute("BEGIN")
    held = event(event_id, at=NOW - 1)
    identities = [identity_of(held.source, held.id).hex()]
    store.events._append(connection, [held], identities, NOW, is_history=False)
    return connection


def test_a_reader_waits_for_an_append_that_commits_late(store: Store) -> None:
    store.events.append([event("early")], NOW).result()
    with begin_append(store, "held") as held:
        elsewhere = [event("later", at=NOW + 3_600_000_000)]  # another hour: nobody waits
        store.events.append(elsewhere, NOW).result()
        assert store.events.count() == 2
        read = store.events.scan(0, 10)
        assert [found.event.id for found in read] == ["early"]
        held.execute("COMMIT")
    read += store.events.scan(read[-1].seq, 10)
    assert [found.event.id for found in read] == ["early", "held", "later"]


def test_an_append_that_is_given_up_holds_nobody_up(store: Store) -> None:
    with begin_append(store, "held") as held:
        store.events.append([event("later", at=NOW + 3_600_000_000)], NOW).result()
        assert store.events.scan(0, 10) == []
        held.execute("ROLLBACK")
    assert [found.event.id for found in store.events.scan(0, 10)] == ["later"]


def test_somebody_elses_long_transaction_holds_nobody_up(store: Store) -> None:
    with psycopg.connect(store.database.url) as stranger:
        stranger.execute("CREATE TABLE of_somebody_else (id integer)")
        stranger.execute("SELECT pg_current_xact_id()")
        store.events.append([event("a"), event("b")], NOW).result()
        assert [found.event.id for found in store.events.scan(0, 10)] == ["a", "b"]
        stranger.rollback()


def test_the_log_is_complete_where_nobody_appends(store: Store) -> None:
    with store.database.read() as connection:
        assert complete_upto(connection) == 0
    store.events.append([event("a"), event("b")], NOW).result()
    with store.database.read() as connection:
        assert complete_upto(connection) == store.events.scan(0, 10)[-1].seq
