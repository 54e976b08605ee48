"""What SQLite alone reaches: the rows of a batch inserted, with the same durability and identity.

One thread inserts rows with all that an event has, in the same types, into a table with a unique
index on (source, id), WAL and ``synchronous=FULL``, and does nothing else: no HTTP, no JSON, no
rollups. It commits as many rows at once as the server beside it did on average: the server's
commits are counted, because a larger commit costs less per row.
"""

from __future__ import annotations

import sqlite3
import struct
from datetime import datetime
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.domain.instants import from_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COMMITS = struct.Struct("=8xI")
"""How the index of a write-ahead log begins, in the machine's own order of bytes; its third integer
is incremented with each transaction (https://www.sqlite.org/walformat.html).
"""

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

    def insert(self, bodies: Iterable[bytes], commit_rows: int) -> float:
        """Insert the events of some bodies, so many rows in a commit; return how many rows that was
        in a second.
        """
        rows = seconds = 0.0
        for chunk in _chunks(bodies, commit_rows):
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


def commits_made(database: Path) -> int:
    """Return the counter of a database's transactions; somebody has it open."""
    with database.with_name(f"{database.name}-shm").open("rb") as index:
        return int(_COMMITS.unpack(index.read(_COMMITS.size))[0])


def _chunks(bodies: Iterable[bytes], size: int) -> Iterable[list[tuple[Any, ...]]]:
    rows: list[tuple[Any, ...]] = []
    for body in bodies:
        received_at = time_ns() // 1_000
        for event in msgspec.json.decode(body):
            occurred_at = from_datetime(datetime.fromisoformat(event["time"]))
            properties = msgspec.json.encode(event["properties"])
            value = str(event["value"])
            rows.append(
                (
                    event["id"],
                    event["type"],
                    event["customer"],
                    occurred_at,
                    received_at,
                    value,
                    properties,
                )
            )
            if len(rows) == size:
                yield rows
                rows = []
    if rows:
        yield rows
