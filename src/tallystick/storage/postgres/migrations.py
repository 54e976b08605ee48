"""PostgreSQL's schema: numbered migrations, all that are missing in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from tallystick.storage.migration_files import Migration, missing, read_migrations
from tallystick.storage.postgres.database import connect
from tallystick.storage.postgres.errors import translated
from tallystick.storage.postgres.locks import MIGRATING
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from tallystick.storage.postgres.database import Connection

_SQL = statements("migrations")


def migrations() -> tuple[Migration, ...]:
    """Return every migration of this version, in order."""
    return read_migrations("postgres")


def migrate(url: str, now: int) -> int:
    """Bring the database's schema up to this version; return the newest migration's number.

    Several servers may do this at once: one does it, and the others wait and find it done.

    Raises:
        StoreUnavailable: the server cannot now.
        StoreUnusable: the database was made by a newer or altered version, or refuses us.
    """
    known = migrations()
    with connect(url) as connection:
        try:
            with connection.transaction():
                _apply_missing(connection, known, now)
        except psycopg.Error as error:
            raise translated(error) from error
    return known[-1].number


def is_installed(url: str) -> bool:
    """Tell whether the database has our schema, in whatever version.

    Raises:
        StoreUnavailable, StoreUnusable: the server does not answer, or refuses us.
    """
    with connect(url) as connection:
        row = connection.execute(_SQL["ledger_exists"]).fetchone()
    return row is not None and bool(row[0])


def _apply_missing(connection: Connection, known: tuple[Migration, ...], now: int) -> None:
    connection.execute(_SQL["wait_longer"])
    connection.execute(_SQL["one_at_a_time"], (MIGRATING,))
    (has_ledger,) = connection.execute(_SQL["ledger_exists"]).fetchone() or (False,)
    if not has_ledger:
        connection.execute(_SQL["make_ledger"])
    applied: dict[int, str] = dict(connection.execute(_SQL["applied"]).fetchall())
    for migration in missing(known, applied):
        connection.execute(migration.sql.encode())  # several statements, no parameters
        connection.execute(
            _SQL["note_applied"],
            (migration.number, migration.name, migration.checksum, now),
        )
