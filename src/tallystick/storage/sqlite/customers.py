"""Customers and their subscription items in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.storage.customers import StoredCustomerDirectory

if TYPE_CHECKING:
    import sqlite3


class SqliteCustomerDirectory(StoredCustomerDirectory):
    """``CustomerDirectory`` on one SQLite file, whose marks are counted in a row."""

    def _begin_marks(self, connection: sqlite3.Connection) -> None:
        connection.execute(self._sql["next_mark"])
