"""Turns in PostgreSQL: advisory locks of a session, which ends with its process."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg

from tallystick.storage.postgres.database import connect
from tallystick.storage.postgres.errors import translated
from tallystick.storage.postgres.locks import TURNS
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.ports.turns import Turn

_SQL = statements("turns")


class PostgresTurns:
    """``Turns`` on one PostgreSQL database.

    A connection of its own holds the turn, outside the pool. Where it is lost, the turn is too, and
    somebody else may take it while the work goes on: nothing may rely on a turn to be right.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def take(self, turn: Turn) -> Iterator[bool]:
        """Return whether the turn is the caller's, until the block ends."""
        connection = connect(self._url)
        try:
            try:
                row = connection.execute(_SQL["take"], (TURNS, turn)).fetchone()
            except psycopg.Error as error:
                raise translated(error) from error
            yield row is not None and bool(row[0])
        finally:
            with suppress(psycopg.Error):  # its locks end with it, but only once the server notices
                connection.execute(_SQL["give_back"])
            connection.close()
