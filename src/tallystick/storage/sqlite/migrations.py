"""Numbered migrations: forward only, checksummed, each in one transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from tallystick.ports.errors import StoreUnusable
from tallystick.storage.sqlite.database import connect, opening_failed

if TYPE_CHECKING:
    from pathlib import Path

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT
"""


class Migration(NamedTuple):
    """One step of the schema; ``checksum`` is that of its text."""

    number: int
    name: str
    sql: str
    checksum: str


def migrations() -> tuple[Migration, ...]:
    """Return every migration of this version, in order."""
    folder = files("tallystick.storage.sqlite").joinpath("migrations")
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".sql"):
            sql = entry.read_text("utf-8")
            checksum = hashlib.sha256(sql.encode()).hexdigest()
            found.append(Migration(int(entry.name[:4]), entry.name, sql, checksum))
    return tuple(found)


def migrate(path: Path, now: int) -> int:
    """Bring the file's schema up to this version, making the file if there is none.

    Returns the newest migration's number. Several processes may do this at once.

    Raises:
        StoreUnusable: the file is not a database, or was made by a newer or altered version.
    """
    try:
        connection = connect(path)
    except sqlite3.Error as error:
        raise opening_failed(path, error) from error
    try:
        return _apply_missing(connection, now)
    except sqlite3.Error as error:
        raise opening_failed(path, error) from error
    finally:
        connection.close()


def _apply_missing(connection: sqlite3.Connection, now: int) -> int:
    known = migrations()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_LEDGER)
    applied = dict(connection.execute("SELECT number, checksum FROM schema_migrations"))
    for migration in known:
        checksum = applied.pop(migration.number, None)
        if checksum is None:
            _apply(connection, migration, now)
        elif checksum != migration.checksum:
            raise StoreUnusable(
                f"migration {migration.name} was altered after this database applied it"
            )
    if applied:
        raise StoreUnusable(
            f"the database has migration {max(applied)}, which this version does not know: "
            "it was made by a newer version of Tallystick"
        )
    connection.execute("COMMIT")
    return known[-1].number


def _apply(connection: sqlite3.Connection, migration: Migration, now: int) -> None:
    statement = ""
    for line in migration.sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute(
        "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
        (migration.number, migration.name, migration.checksum, now),
    )
