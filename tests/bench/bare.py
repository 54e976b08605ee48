"""What SQLite alone reaches: the rows of a batch inserted, with the same durability and identity.

One thread inserts rows of the same width into a table with a unique index on (source, id), WAL and
``synchronous=FULL``, a commit per 1,000 rows, and does nothing else: no HTTP, no JSON, no rollups.
"""

from __future__ import annotations

import sqlite3
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

COMMIT_ROWS = 1_000

_TABLE = """
CREATE TABLE IF NOT EXISTS bare (
    seq INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    customer TEXT NOT NULL, occurred_at INTEGER NOT NULL, received_at INTEGER NOT NULL,
    value TEXT NOT NULL, properties BLOB NOT NULL, UNIQUE (source, id)
) STRICT
"""
_INSERT = """
INSERT INTO bare (source, id, type, customer, occurred_at, received_at, value, properties)
VALUES ('default', ?, ?, ?, ?, ?, ?, ?)
"""


class BareTable:
    """The table, in a file of its own that a later run uses again. Close it."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(_TABLE)

    def rows(self) -> int:
        """Return how many rows there are."""
        (rows,) = self._connection.execute("SELECT COALESCE(MAX(seq), 0) FROM bare").fetchone()
        return int(rows)

    def insert(self, bodies: Iterable[bytes]) -> float:
        """Insert the events of some bodies; return how many rows that was in a second."""
        rows = seconds = 0.0
        for chunk in _chunks(bodies):
            started = perf_counter()
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, chunk)
            self._connection.execute("COMMIT")
            seconds += perf_counter() - started
            rows += len(chunk)
        return rows / seconds if rows else 0.0

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _chunks(bodies: Iterable[bytes]) -> Iterable[list[tuple[Any, ...]]]:
    rows: list[tuple[Any, ...]] = []
    for body in bodies:
        for number, event in enumerate(msgspec.json.decode(body)):
            properties = msgspec.json.encode(event["properties"])
            value = str(event["value"])
            rows.append(
                (event["id"], event["type"], event["customer"], number, number, value, properties)
            )
        if len(rows) >= COMMIT_ROWS:
            yield rows
            rows = []
    if rows:
        yield rows
