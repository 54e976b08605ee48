"""SQL that lives in files, by name."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from tallystick.storage.statement_files import read_statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

_ROW = re.compile(r"VALUES (\([^()]+\))")
_ROWS = (256, 128, 64, 32, 16, 8, 4, 2, 1)  # few sizes, so that their statements stay prepared


def statements(topic: str) -> dict[str, str]:
    """Return the statements of ``sql/TOPIC.sql`` by the names that their headers give."""
    return read_statements("sqlite", topic)


def write_rows(
    connection: sqlite3.Connection,
    statement: str,
    flat: Sequence[Any],
    width: int,
    shared: tuple[Any, ...] = (),
) -> None:
    """Execute a statement with one row of ``VALUES`` for many rows, given one after another, after
    the values that all of them share: its numbered parameters.

    Many rows in one statement: it gives the interpreter's lock away, and has to win it back from
    other threads, once instead of once a row.
    """
    for sized, parameters in _sized(statement, flat, width):
        connection.execute(sized, (*shared, *parameters) if shared else parameters)


def read_rows(
    connection: sqlite3.Connection, statement: str, flat: Sequence[Any], width: int
) -> Iterator[tuple[Any, ...]]:
    """Return what a query finds for many rows of ``VALUES``."""
    for sized, parameters in _sized(statement, flat, width):
        yield from connection.execute(sized, parameters).fetchall()


def _sized(statement: str, flat: Sequence[Any], width: int) -> Iterator[tuple[str, Sequence[Any]]]:
    done = 0
    for rows in _ROWS:
        step = rows * width
        while len(flat) - done >= step:
            yield _for_rows(statement, rows), flat[done : done + step]
            done += step


@cache
def _for_rows(statement: str, count: int) -> str:
    return _ROW.sub(lambda found: "VALUES " + ", ".join([found[1]] * count), statement)
