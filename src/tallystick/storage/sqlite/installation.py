"""What belongs to a SQLite database as a whole: its account and its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.ports.directory import Account
from tallystick.storage.accounts import check_account
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3

    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("installation")


class SqliteInstallation:
    """``Installation`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase, now: int) -> None:
        self._database = database
        database.write(lambda connection: connection.execute(_SQL["install"], (now,)))

    def account(self) -> Account | None:
        """Return the Stripe account that the database belongs to, once it is known."""
        with self._database.read() as connection:
            account_id, livemode = connection.execute(_SQL["account"]).fetchone()
        return None if account_id is None else Account(account_id, bool(livemode))

    def adopt(self, account: Account) -> None:
        """Record the account, once and for all."""

        def adopt(connection: sqlite3.Connection) -> None:
            account_id, livemode = connection.execute(_SQL["account"]).fetchone()
            if account_id is None:
                connection.execute(_SQL["adopt"], account)
            else:
                check_account(Account(account_id, bool(livemode)), account)

        self._database.write(adopt)

    def schema_version(self) -> int:
        """Return the number of the newest migration applied."""
        with self._database.read() as connection:
            return int(connection.execute(_SQL["schema_version"]).fetchone()[0])
