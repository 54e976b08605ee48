"""API keys: what a client shows, the digest that is all we keep of it, and what it may do."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

PREFIX = "tsk_"
_BYTES = 32


class Scope(StrEnum):
    """What a key may do. None includes another: a key has those that it was given."""

    INGEST = "ingest"
    """Send events."""
    READ = "read"
    """See usage, lateness, reports that stand still, and rate usage."""
    OPERATE = "operate"
    """Change what is counted or reported: corrections, dead letters, history."""
    ADMIN = "admin"
    """Decide who may do what: make and revoke keys."""


ALL_SCOPES = frozenset(Scope)

DEFAULT_SCOPES = frozenset({Scope.INGEST, Scope.READ})
"""Of a key that is made without a word about scopes: what a product's own server needs."""

DEFAULT_BOUND_SCOPES = frozenset({Scope.INGEST})
"""The same for a key that is bound to a source: usage that is read is of all sources."""


class KeyStanding(StrEnum):
    """Whether a key may be used."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without what is shown: that was printed once.

    ``source`` is the only source whose events it may send and correct, if there is one. It may be
    used before ``expires_at`` and until it is revoked. ``last_used_at`` is up to a minute behind.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: int
    source: str | None = None
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    def standing(self, now: int) -> KeyStanding:
        """Return whether it may be used at this instant."""
        if self.revoked_at is not None:
            return KeyStanding.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyStanding.EXPIRED
        return KeyStanding.ACTIVE


def new_key() -> str:
    """Return a new key. It is shown once and never stored."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def new_key_id() -> str:
    """Return a name for a key that says nothing about it."""
    return f"key_{secrets.token_hex(8)}"


def digest_of(key: str) -> bytes:
    """Return what is stored of a key: it is random, so a plain digest cannot be guessed back."""
    return sha256(key.encode()).digest()
