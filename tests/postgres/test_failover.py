"""The machine with the database is gone, and the standby takes over while clients go on sending."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tallystick.storage.postgres import database
from tallystick.storage.postgres.migrations import migrate
from tests.fixtures.postgres import USER, postgres_server
from tests.postgres.stores import WAIT_SECONDS, Clients, assert_each_once, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.postgres import PostgresServer

Pair = tuple["PostgresServer", "PostgresServer"]


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A server with the product's database, and a standby that has each commit before it counts."""
    monkeypatch.setattr(database, "CONNECTION_WAIT_SECONDS", WAIT_SECONDS)
    with postgres_server() as primary, postgres_server(standby_of=primary) as standby:
        primary.execute("CREATE DATABASE product")
        migrate(primary.url("product"), 0)
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        while not primary.execute(synchronous):
            continue
        primary.execute("CHECKPOINT")  # who makes it also tells all others to wait for the standby
        yield primary, standby


def test_a_standby_promoted_under_load_misses_nothing_and_doubles_nothing(pair: Pair) -> None:
    primary, standby = pair
    url = (
        f"postgresql://{USER}@{primary.address},{standby.address}/product"
        "?target_session_attrs=read-write"
    )
    with ExitStack() as stack:
        servers = [stack.enter_context(opened(url)) for _ in range(2)]
        with Clients(servers[0], name="a") as first, Clients(servers[1], name="b") as second:
            for clients in (first, second):
                clients.wait_for(100)
            primary.kill()
            standby.execute("SELECT pg_promote()")
            for clients in (first, second):
                clients.wait_for(100)
        first.acknowledged += second.acknowledged
        for server in servers:
            assert_each_once(server, first)
        assert not standby.execute("SELECT 1 WHERE pg_is_in_recovery()")
