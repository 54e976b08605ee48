"""API keys on every backend: the statements are its own, what is done with rows is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.api_keys import ApiKey, Scope

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tallystick.storage.database import Database


class StoredApiKeys:
    """``ApiKeys`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("api_keys")

    def add(self, key: ApiKey, digest: bytes) -> None:
        """Keep a new key."""
        row = _row(key, digest)
        self._database.write(lambda connection: connection.execute(self._sql["add_key"], row))

    def find(self, digest: bytes) -> ApiKey | None:
        """Return the key with this digest."""
        with self._database.read() as connection:
            row = connection.execute(self._sql["find_key"], (digest,)).fetchone()
        return _key(row) if row else None

    def listed(self) -> list[ApiKey]:
        """Return every key, in the order in which they were made."""
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(self._sql["keys"])]

    def revoke(self, key_id: str, now: int) -> bool:
        """End a key for ever; False if there is none of that id."""

        def revoke(connection: Any) -> bool:
            return bool(connection.execute(self._sql["revoke_key"], (now, key_id)).rowcount)

        return self._database.write(revoke)

    def used(self, key_id: str, at: int) -> Future[None]:
        """Keep when a key was used last."""

        def keep(connection: Any) -> None:
            connection.execute(self._sql["key_used"], (at, key_id))

        return self._database.submit(keep)


def _row(key: ApiKey, digest: bytes) -> tuple[Any, ...]:
    return (
        key.id,
        key.name,
        digest,
        " ".join(sorted(key.scopes)),
        key.source,
        key.created_at,
        key.expires_at,
    )


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, name, scopes, source, created_at, expires_at, revoked_at, last_used_at = row
    return ApiKey(
        key_id,
        name,
        frozenset(map(Scope, scopes.split())),
        created_at,
        source,
        expires_at,
        revoked_at,
        last_used_at,
    )
