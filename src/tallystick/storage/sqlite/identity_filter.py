"""A filter before the table of identities: what it does not know is certainly new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

FILTER_BYTES = 1 << 24
"""One bit of 16 MB for each identity: of those that are new it lets 7 in 100 through to the table
with 10 million stored, and half with 100 million."""

PART_BYTES = 1 << 16
"""What is written of it as one row."""

_END_BYTES = 4
"""What of an identity, its end, says which bit is its own."""

_SQL = statements("identities")


class IdentityFilter:
    """The filter in memory, of which the database holds a copy."""

    def __init__(self) -> None:
        self._bits = bytearray(FILTER_BYTES)

    def add(self, identities: Iterable[bytes]) -> None:
        """Let these pass from now on."""
        bits = self._bits
        from_bytes = int.from_bytes
        for identity in identities:
            place = from_bytes(identity[-_END_BYTES:], "big")
            bits[place >> 8] |= 1 << (place & 7)

    def passing(self, identities: Sequence[bytes]) -> list[bytes]:
        """Return those that may be in the table; the others are not."""
        bits = self._bits
        from_bytes = int.from_bytes
        return [
            identity
            for identity in identities
            if bits[(place := from_bytes(identity[-_END_BYTES:], "big")) >> 8] >> (place & 7) & 1
        ]

    def read(self, connection: sqlite3.Connection) -> None:
        """Take the copy from the database."""
        for part, bits in connection.execute(_SQL["filter_parts"]):
            self._bits[part * PART_BYTES : (part + 1) * PART_BYTES] = bits

    def rebuild(self, connection: sqlite3.Connection) -> None:
        """Make it anew from the table, which takes some seconds for 10 million identities."""
        for first in range(256):
            span = (bytes([first]), bytes([first + 1]) if first < 255 else b"\xff" * 32)
            (ends,) = connection.execute(_SQL["identity_ends"], span).fetchone()
            packed = bytes.fromhex(ends or "")
            self.add(packed[at : at + _END_BYTES] for at in range(0, len(packed), _END_BYTES))

    def write(self, connection: sqlite3.Connection) -> None:
        """Write all of it into the database, in one transaction: 25 ms of processor time."""
        for part, at in enumerate(range(0, FILTER_BYTES, PART_BYTES)):
            bits = self._bits[at : at + PART_BYTES]
            connection.execute(_SQL["keep_filter_part"], (part, bits))
