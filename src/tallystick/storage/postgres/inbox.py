"""The meter errors in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.storage.inbox import StoredMeterErrors
from tallystick.storage.postgres.locks import METER_ERRORS

if TYPE_CHECKING:
    from tallystick.storage.postgres.database import Connection


class PostgresMeterErrors(StoredMeterErrors):
    """``MeterErrors`` on one PostgreSQL database, where many write at a time."""

    def _wait_for_others(self, connection: Connection) -> None:
        connection.execute(self._sql["lock"], (METER_ERRORS,))
