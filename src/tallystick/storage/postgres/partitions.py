"""Partitions of the event log: one a UTC day, made ahead of time, gone once they are empty."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import structlog
from psycopg import Cursor, sql
from psycopg.errors import CheckViolation

from tallystick.domain.instants import DAY_US, format_instant
from tallystick.storage.postgres.errors import WAITED_TOO_LONG
from tallystick.storage.postgres.locks import PARTITIONS
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tallystick.storage.postgres.database import Connection, PostgresDatabase

DAYS_AHEAD = 3
"""Days that have their partition before they begin: so long may making one fail unnoticed."""

EMPTY_DAYS_KEPT = 35
"""Days that keep their partition though nothing is in it: events may still come late."""

_FIRST_AT = -(1 << 62)
_DAY = re.compile(r"usage_events_(\d{4})_(\d\d)_(\d\d)")
_SQL = statements("partitions")
_log = structlog.get_logger()


def make_partitions(database: PostgresDatabase, now: int) -> Future[None]:
    """Have the partitions of this day and the next ones made where they are missing, and those that
    are empty since long dropped; the future completes when that is done or put off.

    Days before the first one made share a partition, and so do days of which an event came before
    their own was made. Events have their place whether this succeeds or not, and never move: who
    reads from an older snapshot would look for them in the new place and not see them there.
    """
    return database.submit(lambda connection: _look_after(connection, now))


def _look_after(connection: Connection, now: int) -> None:
    for work in (_make_missing, _drop_empty):
        try:
            with connection.transaction():
                work(connection, now)
        except (*WAITED_TOO_LONG, CheckViolation) as error:
            # somebody reads for long, or writes just now what would have to move
            _log.info("postgres.partitions_put_off", detail=str(error).strip())


def _make_missing(connection: Connection, now: int) -> None:
    known = _partitions(connection)
    today = now - now % DAY_US
    if (
        known
        and "usage_events_past" not in known
        and not _first(connection, "came_early", from_at=_FIRST_AT, to_at=today)
    ):
        _run(connection, "attach_past", before_at=today)
    oldest = min((name for name in known if _DAY.fullmatch(name)), default="")
    for day_at in range(today, today + DAYS_AHEAD * DAY_US + 1, DAY_US):
        name = partition_of(day_at)
        bounds = {"from_at": day_at, "to_at": day_at + DAY_US}
        if not known or name in known or name < oldest:  # by a clock that is behind
            continue
        if _first(connection, "came_early", **bounds):
            continue
        _run(connection, "make_day", day=name)
        _run(connection, "attach_day", day=name, **bounds)


def _drop_empty(connection: Connection, now: int) -> None:
    """Drop the partitions of days whose events have all gone to the archive.

    What comes for such a day later has its place beside the days that have no partition.
    """
    oldest_kept = partition_of(now - EMPTY_DAYS_KEPT * DAY_US)
    for name in sorted(_partitions(connection)):
        if _DAY.fullmatch(name) and name < oldest_kept and not _size(connection, name):
            _run(connection, "lock_day", day=name)
            if not _size(connection, name):
                _run(connection, "drop_day", day=name)


def _size(connection: Connection, name: str) -> int:
    row = connection.execute(sql.SQL(_SQL["day_size"]).format(day=sql.Literal(name))).fetchone()
    assert row is not None
    return int(row[0])


def _first(connection: Connection, name: str, **bounds: Any) -> Any:
    row = _run(connection, name, **bounds).fetchone()
    assert row is not None
    return row[0]


def _partitions(connection: Connection) -> set[str]:
    """Return the partitions that there are; none, if another process looks after them now."""
    (is_alone,) = connection.execute(_SQL["try_alone"], (PARTITIONS,)).fetchone() or (False,)
    if not is_alone:
        return set()
    connection.execute(_SQL["wait_briefly"])
    return {name for (name,) in connection.execute(_SQL["partitions"])}


def partition_of(day_at: int) -> str:
    """Return the name of a day's partition."""
    return "usage_events_" + format_instant(day_at)[:10].replace("-", "_")


def _run(
    connection: Connection, name: str, *, day: str | None = None, **bounds: Any
) -> Cursor[tuple[Any, ...]]:
    named: dict[str, sql.Composable] = {key: sql.Literal(at) for key, at in bounds.items()}
    if day is not None:
        named["day"] = sql.Identifier(day)
    return connection.execute(sql.SQL(_SQL[name]).format(**named))
