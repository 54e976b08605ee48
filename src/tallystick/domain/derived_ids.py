"""Ids of events that were sent without one, where their source says that they may be.

The id is a digest of what tells events apart: a repeat of the same event gets the same id and
counts once. So do two real events of one customer and type in the same microsecond; whoever can
make an id should.
"""

from __future__ import annotations

from hashlib import sha256

PREFIX = "derived_"
_HEX_CHARS = 32


def derived_id(source: str, event_type: str, customer: str, occurred_at: int) -> str:
    """Return the id of an event without one; ``occurred_at`` is in microseconds since 1970, UTC.

    The same for ever: the first 16 bytes of the SHA-256 of the four, as UTF-8 text, each but the
    last followed by a NUL, which none of them may contain.
    """
    text = f"{source}\0{event_type}\0{customer}\0{occurred_at}"
    return PREFIX + sha256(text.encode()).hexdigest()[:_HEX_CHARS]
