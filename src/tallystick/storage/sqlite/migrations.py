"""Numbered migrations: forward only, checksummed, each in one transaction."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from tallystick.storage.migration_files import Migration, missing, read_migrations
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


def migrations() -> tuple[Migration, ...]:
    """Return every migration of this version, in order."""
    return read_migrations("sqlite")


def migrate(path: Path, now: int) -> int:
    """Bring the file's schema up to this version, making the file if there is none.

    Returns the newest migration's number. Several processes may do this at once.

    Raises:
        StoreUnusable: the file is not a database, cannot be written, or was made by a newer or
            altered version.
    """
    try:
        connection = connect(path)
    except sqlite3.Error as error:
        raise opening_failed(path, error) from error
    try:
        if path.exists() and not os.access(path, os.W_OK):  # SQLite would open it to be read only
            raise opening_failed(path, sqlite3.OperationalError("it is read-only"))
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
    for migration in missing(known, applied):
        _apply(connection, migration, now)
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
