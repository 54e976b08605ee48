"""Each hot query of the usage path seeks on PostgreSQL: with rows there, the planner takes the
index, looks at the one day's partition that is asked for, and reads no table from end to end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.storage.postgres.database import PostgresDatabase
from tallystick.storage.postgres.partitions import make_partitions, partition_of
from tallystick.storage.postgres.statements import statements
from tests.fixtures.postgres import fresh_database, no_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000_000_000
TODAY = NOW - NOW % DAY_US
HOUR = {"from_at": TODAY + DAY_US, "to_at": TODAY + DAY_US + HOUR_US}
CUSTOMER = {"customer": "c17", "type": "seen", "is_history": False}
CELL = {"customer": "c17", "selection_id": 1, "is_history": False}
KEYS = (["c17"], [1], [False], [TODAY], [""])
LEASE = {"now": 30_700, "limit": 100, "lease_until": 99}
OUTCOMES = ([30_001], [1], ["delivered"], [False], [None], ["send"], [9], [9])
LANES = {"now": 9, "customers": ["cus_17", "cus_18"], "meters": ["seen", "seen"]}
UUIDS = ["00000000-0000-0000-0000-000000000017"]
TOMORROW = partition_of(TODAY + DAY_US)

FILLED = f"""
INSERT INTO usage_events
SELECT n, 's', n::text, 'seen', 'c' || n % 500, {TODAY - DAY_US} + n::bigint * {DAY_US // 10_000},
    {NOW}, 1, '', false
FROM generate_series(0, 59999) AS n;
INSERT INTO event_identities
SELECT lpad(seq::text, 32, '0')::uuid, seq, occurred_at FROM usage_events;
INSERT INTO usage_rollups
SELECT 'c' || n % 500, 1 + n % 3, false, {TODAY} + (n / 1500) * {HOUR_US}, '', 1, 1, 0
FROM generate_series(0, 59999) AS n;
INSERT INTO day_rollups
SELECT 'c' || n % 500, 1 + n % 3, {TODAY} - (n / 1500) * {DAY_US}, '', 1, 1, 0
FROM generate_series(0, 59999) AS n;
INSERT INTO rolled_days
SELECT 1 + n % 3, {TODAY} - (n / 3)::bigint * {DAY_US}, NULL FROM generate_series(0, 8999) AS n;
INSERT INTO stale_days
SELECT 'c' || n % 500, 1, {TODAY} - (n / 500) * {DAY_US} FROM generate_series(0, 19999) AS n;
INSERT INTO event_corrections (seq, value, actor, reason, corrected_at)
SELECT n, 0, 'a', 'b', 0 FROM generate_series(1, 9000) AS n;
INSERT INTO usage_reports (
    customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, way, is_increment, closes_at,
    stage, wake_at, planned_at
)
SELECT 'c' || n % 900, 'cus_' || n % 900, 'seen', 0, 9, 0, 9, n / 900, 1, 5, 'ts1-' || n,
    CASE WHEN n < 30000 THEN 'delivered' ELSE 'pending' END, 'meter_events', false, n % 700,
    CASE WHEN n < 30000 THEN 'unverified' WHEN n < 30600 THEN 'ready' WHEN n < 30900 THEN 'waiting'
        ELSE 'queued' END,
    n, 0
FROM generate_series(0, 59999) AS n;
"""

DAY_KEYS = (["c17", "c18"], [1, 1], [TODAY, TODAY])
PARTS = {
    **CELL,
    "days": [TODAY - DAY_US],
    "from_at": [TODAY - 2 * DAY_US, TODAY],
    "to_at": [TODAY - DAY_US, NOW],
}
BY_DAY = r"\w* Scan (using|on) day_rollups_pkey"
BY_KEY = r"Index (Only )?Scan using usage_rollups_pkey"
BY_PLACE = r"Index Scan using usage_events_\w+_seq_idx"
BY_CUSTOMER = rf"(Index|Bitmap Index) Scan (using|on) {TOMORROW}_customer_occurred_at_idx"
ANY_BY_CUSTOMER = rf"Scan (using|on) {TOMORROW}_customer_occurred_at_idx"
BY_IDENTITY = r"Index Scan using event_identities_pkey|Bitmap Index Scan on event_identities_pkey"
BY_REPORT = r"Index Scan using usage_reports_pkey"
BY_EVENT = r"Index (Only )?Scan (Backward )?using event_corrections_by_event"

HOT: list[tuple[str, str, Any, list[str]]] = [
    ("events", "events_known", (UUIDS,), [BY_IDENTITY, BY_PLACE]),
    ("events", "event_known", UUIDS, [BY_IDENTITY, BY_PLACE, BY_EVENT]),
    ("events", "scan_events", (500, 40_000, 100), [BY_PLACE]),
    ("rollups", "cells_of", KEYS, [BY_KEY]),
    ("rollups", "hour_events", {**CUSTOMER, **HOUR}, [BY_CUSTOMER, BY_EVENT]),
    ("counted_events", "counted", {**CUSTOMER, **HOUR}, [BY_CUSTOMER, BY_EVENT]),
    ("usage", "hour_cells", {**CELL, **HOUR}, [r"\w* Scan (using|on) usage_rollups_pkey"]),
    ("usage", "hours_total", {**CELL, **HOUR}, [r"\w* Scan (using|on) usage_rollups_pkey"]),
    ("usage", "part_cells", PARTS, [r"\w* Scan (using|on) usage_rollups_pkey", BY_DAY]),
    ("usage", "parts_total", PARTS, [r"\w* Scan (using|on) usage_rollups_pkey", BY_DAY]),
    (
        "day_rollups",
        "rolled_of_customer",
        {**CELL, **HOUR},
        [r"Scan using rolled_days_", r"stale_days_pkey"],
    ),
    ("day_rollups", "customers_from", {"first": "c17", "customers": 200}, [BY_KEY]),
    ("day_rollups", "roll_sums", DAY_KEYS, [r"\w* Scan (using|on) usage_rollups_pkey"]),
    ("day_rollups", "hours_of", DAY_KEYS, [r"\w* Scan (using|on) usage_rollups_pkey"]),
    ("usage", "latest_cell_before", {**CELL, "to_at": NOW}, ["Backward using usage_rollups_pkey"]),
    ("usage", "lies_beyond", {**CUSTOMER, **HOUR, "day_at": TODAY}, [ANY_BY_CUSTOMER]),
    ("usage", "next_customer", ("c3",), [BY_KEY]),
    ("usage", "received_at", (17, TODAY + DAY_US), [rf"Index Scan using {TOMORROW}_seq_idx"]),
    ("corrections", "places_of", (UUIDS,), [BY_IDENTITY, BY_PLACE]),
    ("corrections", "newest_correction", (17,), [BY_EVENT]),
    ("outbox", "wake", LEASE, ["Index Scan using usage_reports_waiting"]),
    ("outbox", "claim", LEASE, ["Index Scan using usage_reports_ready", BY_REPORT]),
    ("outbox", "settle", OUTCOMES, [BY_REPORT]),
    ("outbox", "next_in_lane", LANES, [BY_REPORT, r"Scan using usage_reports_lanes"]),
    ("corrections", "lock_hours", (["c17"], [1], [TODAY]), [BY_KEY]),
]
TABLES = r"Seq Scan on (usage_|event_|day_|rolled_|stale_)"


@pytest.fixture(scope="module")
def filled() -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A database with some days of events, which the planner knows about."""
    with fresh_database() as url:
        database = PostgresDatabase(url, no_archive)
        make_partitions(database, NOW).result()
        database.close()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILLED)
            # every row is looked at, not a sample: the plans are not left to chance
            connection.execute("SET default_statistics_target = 250")
            connection.execute("VACUUM ANALYZE")
            yield connection


@pytest.mark.parametrize(("topic", "name", "parameters", "keys"), HOT)
def test_a_hot_query_seeks(
    filled: psycopg.Connection[tuple[Any, ...]],
    topic: str,
    name: str,
    parameters: Any,
    keys: list[str],
) -> None:
    cursor = psycopg.ClientCursor(filled)
    plan = "\n".join(
        line for (line,) in cursor.execute(f"EXPLAIN {statements(topic)[name]}", parameters)
    )
    for key in keys:
        assert re.search(key, plan), plan
    assert not re.search(TABLES, plan), plan
    if name in ("scan_events", "hour_cells", "latest_cell_before"):
        assert "Sort  (" not in plan, plan


def test_each_day_has_a_partition_ahead_of_time(
    filled: psycopg.Connection[tuple[Any, ...]],
) -> None:
    rows = filled.execute(
        "SELECT tableoid::regclass::text, COUNT(*) FROM usage_events GROUP BY 1 ORDER BY 1"
    ).fetchall()
    days = [partition_of(TODAY + day * DAY_US) for day in range(4)]
    names = [*days, "usage_events_elsewhen", "usage_events_past"]
    assert rows == [(name, 10_000) for name in names]
