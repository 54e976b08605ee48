"""The backends that every contract is held against, and how one of them dies and comes back."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Protocol

import psycopg

from tallystick.config import Settings
from tallystick.domain.catalog.objects import Catalog
from tallystick.wiring import Tallystick
from tests.fixtures.clock import FakeClock
from tests.fixtures.postgres import fresh_database

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tallystick.domain.meters import Meter

NOW = 1_800_000_000_000_000


class Backend(Protocol):
    """A store that tests can end in every way."""

    product: Tallystick

    def reopen(self) -> None:
        """Close the store and open it again."""

    def crash(self) -> None:
        """Lose all that is only in memory, as a power cut would, and open the store again."""

    def close(self) -> None:
        """Be done with it."""

    def log_rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of the log that are in the database, in order."""

    def spoil_rollup(self, customer: str, day_at: int) -> None:
        """Count one event too many in one of the customer's rollups of the day."""

    def alter(self, statement: str) -> int:
        """Run a statement behind the product's back; return how many rows it changed."""


class SqliteBackend:
    """A SQLite file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lives = 0
        self.product = self._opened()

    def _opened(self) -> Tallystick:
        path = self._path
        settings = Settings(
            database_url=f"sqlite:///{path}", archive_folder=str(self._folder / "archive")
        )
        return Tallystick(settings, FakeClock(NOW))

    def reopen(self) -> None:
        """Close the file and open it again."""
        self.product.close()
        self.product = self._opened()

    def crash(self) -> None:
        """Go on with the bytes that are on disk now; what the writer remembers is lost."""
        before = f"life{self._lives}.db"
        self._lives += 1
        for suffix in ("", "-wal"):
            source = self._folder / (before + suffix)
            if source.exists():
                shutil.copy(source, self._folder / f"life{self._lives}.db{suffix}")
        self.product.close()
        self.product = self._opened()

    def close(self) -> None:
        """Close the file."""
        self.product.close()

    def log_rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of the log."""
        with closing(sqlite3.connect(self._path)) as connection:
            return connection.execute("SELECT * FROM usage_events ORDER BY seq").fetchall()

    def spoil_rollup(self, customer: str, day_at: int) -> None:
        """Alter a row behind the product's back."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            changed = connection.execute(
                "UPDATE usage_rollups SET event_count = event_count + 1"
                " WHERE hour_at = ? AND customer = ? AND last_seq > 0",
                (day_at, customer),
            ).rowcount
        assert changed == 1

    def alter(self, statement: str) -> int:
        """Run a statement on the file."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            return connection.execute(statement).rowcount

    @property
    def _path(self) -> Path:
        return self._folder / f"life{self._lives}.db"


class PostgresBackend:
    """A database of the PostgreSQL server that the tests share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._url = self._open.enter_context(fresh_database())
        self.product = self._opened()

    def _opened(self) -> Tallystick:
        archive = str(self._folder / "archive")
        settings = Settings(database_url=self._url, archive_folder=archive)
        return Tallystick(settings, FakeClock(NOW))

    def reopen(self) -> None:
        """Close every connection and connect again."""
        self.product.close()
        self.product = self._opened()

    def crash(self) -> None:
        """End every connection from the server's side, and go on with new ones."""
        with closing(psycopg.connect(self._url, autocommit=True)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        self.reopen()

    def close(self) -> None:
        """Disconnect and drop the database."""
        self.product.close()
        self._open.close()

    def log_rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of the log."""
        with closing(psycopg.connect(self._url)) as connection:
            return connection.execute("SELECT * FROM usage_events ORDER BY seq").fetchall()

    def spoil_rollup(self, customer: str, day_at: int) -> None:
        """Alter a row behind the product's back."""
        with closing(psycopg.connect(self._url, autocommit=True)) as connection:
            changed = connection.execute(
                "UPDATE usage_rollups SET event_count = event_count + 1"
                " WHERE hour_at = %s AND customer = %s AND NOT is_history AND selection_id ="
                " (SELECT MIN(id) FROM selections)",
                (day_at, customer),
            ).rowcount
        assert changed == 1

    def alter(self, statement: str) -> int:
        """Run a statement in the database."""
        with closing(psycopg.connect(self._url, autocommit=True)) as connection:
            return connection.execute(statement.encode()).rowcount


BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "sqlite": SqliteBackend,
    "postgres": PostgresBackend,
}
"""Every backend by name; a new one passes the whole folder by standing here."""


def put_in_force(product: Tallystick, meters: Sequence[Meter]) -> None:
    """Declare meters, as applying a catalog does."""
    catalog = Catalog(tuple(meters), ())
    product.catalog.keep(catalog, {meter.key: f"mtr_{meter.key}" for meter in meters}, {}, NOW)
