"""PostgreSQL's schema is made once, however many servers start at the same moment."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tallystick.ports.errors import PortError, StoreUnavailable, StoreUnusable
from tallystick.storage.postgres.database import PostgresDatabase, connect
from tallystick.storage.postgres.migrations import migrate, migrations
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import no_archive, shared_server


def test_servers_that_start_at_once_make_the_schema_once() -> None:
    server = shared_server()
    server.execute("CREATE DATABASE started_at_once")
    url = server.url("started_at_once")
    reached: list[int] = []
    threads = [threading.Thread(target=lambda: reached.append(migrate(url, 5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    newest = migrations()[-1].number
    assert reached == [newest] * 4
    applied = server.execute("SELECT number FROM schema_migrations ORDER BY 1", "started_at_once")
    assert applied == [(migration.number,) for migration in migrations()]
    server.execute("DROP DATABASE started_at_once WITH (FORCE)")


def test_an_altered_or_newer_schema_is_refused(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'x', 'y', 0)")
        with pytest.raises(StoreUnusable, match="newer version"):
            migrate(postgres_url, 0)
        connection.execute("DELETE FROM schema_migrations WHERE number = 9999")
        connection.execute("UPDATE schema_migrations SET checksum = 'z' WHERE number = 1")
        with pytest.raises(StoreUnusable, match="altered"):
            migrate(postgres_url, 0)


@pytest.mark.parametrize(
    ("address", "expected", "match"),
    [
        ("postgresql://x@127.0.0.1:{closed}/x", StoreUnavailable, "could not do it now"),
        ("postgresql://tallystick@{open}/nowhere", StoreUnavailable, "does not exist"),
        ("postgresql://x:y@[", StoreUnusable, "address"),
    ],
)
def test_a_database_that_cannot_be_opened_says_why(
    address: str, expected: type[PortError], match: str
) -> None:
    url = address.format(closed=free_port(), open=shared_server().address)
    with pytest.raises(expected, match=match):
        connect(url)


def test_commits_are_durable_whatever_the_server_prefers(postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    shared_server().execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    database = PostgresDatabase(postgres_url, no_archive)
    with database.read() as connection:
        row = connection.execute("SELECT current_setting('synchronous_commit')").fetchone()
    database.close()
    assert row == ("on",)
