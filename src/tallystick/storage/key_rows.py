"""API keys' rows."""

from __future__ import annotations

from typing import Any

from tallystick.domain.api_keys import ApiKey, Scope


def key_row(key: ApiKey, digest: bytes) -> tuple[Any, ...]:
    """Return the columns of a new key."""
    return (
        key.id,
        key.name,
        digest,
        " ".join(sorted(key.scopes)),
        key.source,
        key.created_at,
        key.expires_at,
    )


def key_of(row: tuple[Any, ...]) -> ApiKey:
    """Return the key that a row holds."""
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
