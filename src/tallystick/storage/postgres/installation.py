"""What belongs to a PostgreSQL database as a whole: its account and its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.ports.directory import Account
from tallystick.storage.accounts import check_account
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("installation")


class PostgresInstallation:
    """``Installation`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase, now: int) -> None:
        self._database = database
        database.write(lambda connection: connection.execute(_SQL["install"], (now,)))

    def account(self) -> Account | None:
        """Return the Stripe account that the database belongs to, once it is known."""
        with self._database.read() as connection:
            return _account(connection, "account")

    def adopt(self, account: Account) -> None:
        """Record the account, once and for all."""

        def adopt(connection: Connection) -> None:
            known = _account(connection, "account_to_adopt")
            if known is None:
                connection.execute(_SQL["adopt"], account)
            else:
                check_account(known, account)

        self._database.write(adopt)

    def schema_version(self) -> int:
        """Return the number of the newest migration applied."""
        with self._database.read() as connection:
            (found,) = connection.execute(_SQL["schema_version"]).fetchone() or (0,)
        return int(found)


def _account(connection: Connection, statement: str) -> Account | None:
    account_id, livemode = connection.execute(_SQL[statement]).fetchone() or (None, False)
    return None if account_id is None else Account(account_id, livemode)
