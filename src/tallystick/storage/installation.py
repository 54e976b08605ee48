"""What belongs to a database as a whole, on every backend: its account and its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.ports.directory import Account
from tallystick.storage.accounts import check_account

if TYPE_CHECKING:
    from tallystick.storage.database import Database


class StoredInstallation:
    """``Installation`` on one database."""

    def __init__(self, database: Database, now: int) -> None:
        self._database = database
        self._sql = database.statements("installation")
        database.write(lambda connection: connection.execute(self._sql["install"], (now,)))

    def account(self) -> Account | None:
        """Return the Stripe account that the database belongs to, once it is known."""
        with self._database.read() as connection:
            return self._account(connection, "account")

    def adopt(self, account: Account) -> None:
        """Record the account, once and for all."""

        def adopt(connection: Any) -> None:
            known = self._account(connection, "account_to_adopt")
            if known is None:
                connection.execute(self._sql["adopt"], account)
            else:
                check_account(known, account)

        self._database.write(adopt)

    def schema_version(self) -> int:
        """Return the number of the newest migration applied."""
        with self._database.read() as connection:
            return int(connection.execute(self._sql["schema_version"]).fetchone()[0])

    def _account(self, connection: Any, statement: str) -> Account | None:
        account_id, livemode = connection.execute(self._sql[statement]).fetchone()
        return None if account_id is None else Account(account_id, bool(livemode))
