"""API keys: what a client shows, and the digest that is all we keep."""

from __future__ import annotations

import secrets
from hashlib import sha256

PREFIX = "tsk_"
_BYTES = 32


def new_key() -> str:
    """Return a new key. It is shown once and never stored."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(key: str) -> bytes:
    """Return what is stored of a key: it is random, so a plain digest cannot be guessed back."""
    return sha256(key.encode()).digest()
