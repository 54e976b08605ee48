"""API keys in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.storage.key_rows import key_of, key_row
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from concurrent.futures import Future

    from tallystick.domain.api_keys import ApiKey
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("api_keys")


class SqliteApiKeys:
    """``ApiKeys`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def add(self, key: ApiKey, digest: bytes) -> None:
        """Keep a new key."""
        row = key_row(key, digest)
        self._database.write(lambda connection: connection.execute(_SQL["add_key"], row))

    def find(self, digest: bytes) -> ApiKey | None:
        """Return the key with this digest."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["find_key"], (digest,)).fetchone()
        return key_of(row) if row else None

    def listed(self) -> list[ApiKey]:
        """Return every key, in the order in which they were made."""
        with self._database.read() as connection:
            return [key_of(row) for row in connection.execute(_SQL["keys"])]

    def revoke(self, key_id: str, now: int) -> bool:
        """End a key for ever; False if there is none of that id."""

        def revoke(connection: sqlite3.Connection) -> bool:
            return connection.execute(_SQL["revoke_key"], (now, key_id)).rowcount == 1

        return self._database.write(revoke)

    def used(self, key_id: str, at: int) -> Future[None]:
        """Keep when a key was used last."""

        def keep(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["key_used"], (at, key_id))

        return self._database.submit(keep)
