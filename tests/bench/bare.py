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
CREATE TABLE bare (
    seq INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    customer TEXT NOT NULL, occurred_at INTEGER NOT NULL, received_at INTEGER NOT NULL,
    value TEXT NOT NULL, properties BLOB NOT NULL, UNIQUE (source, id)
) STRICT
"""
_INSERT = """
INSERT INTO bare (source, id, type, customer, occurred_at, received_at, value, properties)
VALUES ('default', ?, ?, ?, ?, ?, ?, ?)
"""


def bare_rows_per_second(folder: Path, before: Iterable[bytes], measured: Iterable[bytes]) -> float:
    """Return the rows inserted in a second from the measured bodies, after those before."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(_TABLE)
    for chunk in _chunks(before):
        _insert(connection, chunk)
    chunks = list(_chunks(measured))
    started = perf_counter()
    for chunk in chunks:
        _insert(connection, chunk)
    seconds = perf_counter() - started
    connection.close()
    return sum(map(len, chunks)) / seconds


def _insert(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, rows)
    connection.execute("COMMIT")


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
