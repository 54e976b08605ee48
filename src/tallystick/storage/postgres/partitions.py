"""Partitions of the event log: one a UTC day, made ahead of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from psycopg import sql

from tallystick.domain.instants import DAY_US, format_instant
from tallystick.storage.postgres.locks import PARTITIONS
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tallystick.storage.postgres.database import Connection, PostgresDatabase

DAYS_AHEAD = 3
"""Days that have their partition before they begin: so long may making one fail unnoticed."""

_PREFIX = "usage_events_"
_SQL = statements("partitions")
_log = structlog.get_logger()


def make_partitions(database: PostgresDatabase, now: int) -> None:
    """Have the partitions of this day and the next ones made where they are missing, soon.

    Days before the first one made share a partition, and so do days further ahead until their own
    is made. What fails is logged and left to the next day: until then events have their place all
    the same.
    """
    made = database.submit(lambda connection: _make_missing(connection, now))
    made.add_done_callback(_log_failure)


def _log_failure(made: Future[None]) -> None:
    error = made.exception()
    if error is not None:
        _log.warning("postgres.partitions_not_made", detail=str(error))


def _make_missing(connection: Connection, now: int) -> None:
    (is_alone,) = connection.execute(_SQL["try_alone"], (PARTITIONS,)).fetchone() or (False,)
    if not is_alone:
        return
    connection.execute(_SQL["wait_briefly"])
    known = {name for (name,) in connection.execute(_SQL["partitions"])}
    today = now - now % DAY_US
    if f"{_PREFIX}past" not in known:
        _run(connection, "attach_past", before_at=today)
    for day_at in range(today, today + DAYS_AHEAD * DAY_US + 1, DAY_US):
        name = partition_of(day_at)
        if name not in known:
            bounds = {"from_at": day_at, "to_at": day_at + DAY_US}
            _run(connection, "make_day", day=name)
            _run(connection, "move_day", day=name, **bounds)
            _run(connection, "attach_day", day=name, **bounds)


def partition_of(day_at: int) -> str:
    """Return the name of a day's partition."""
    return _PREFIX + format_instant(day_at)[:10].replace("-", "_")


def _run(connection: Connection, name: str, *, day: str | None = None, **bounds: Any) -> None:
    named: dict[str, sql.Composable] = {key: sql.Literal(at) for key, at in bounds.items()}
    if day is not None:
        named["day"] = sql.Identifier(day)
    connection.execute(sql.SQL(_SQL[name]).format(**named))
