"""Each hot query seeks: SQLite's plan names the key it uses, and scans no table."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    from tallystick.config import Settings
    from tallystick.wiring import Tallystick

HOT = [
    ("identities", "find_identities", "event_identities USING PRIMARY KEY"),
    ("identities", "identities_after", "usage_events USING INTEGER PRIMARY KEY"),
    ("events", "events_at", "usage_events USING INTEGER PRIMARY KEY"),
    ("events", "scan_events", "usage_events USING INTEGER PRIMARY KEY"),
    ("rollups", "cells_of", "cell USING INDEX usage_rollups_by_hour"),
    ("rollups", "hour_events", "event USING INTEGER PRIMARY KEY"),
    ("usage", "hour_cells", "cell USING INDEX usage_rollups_by_hour"),
    ("usage", "hours_total", "cell USING INDEX usage_rollups_by_hour"),
    ("usage", "latest_cell_before", "cell USING INDEX usage_rollups_by_hour"),
    ("usage", "hour_end", "usage_rollups USING INDEX usage_rollups_by_hour"),
    ("counted_events", "hour_ends", "cell USING INDEX usage_rollups_by_hour"),
    ("counted_events", "hour_seqs", "event USING INTEGER PRIMARY KEY"),
    ("usage", "span", "usage_spans USING PRIMARY KEY"),
    ("usage", "next_customer", "usage_spans USING PRIMARY KEY"),
    ("day_rollups", "rolled_of_customer", "rolled USING PRIMARY KEY"),
    ("day_rollups", "rolled_of_customer", "stale USING PRIMARY KEY"),
    ("day_rollups", "day_cells", "day_rollups USING PRIMARY KEY"),
    ("day_rollups", "days_total", "day_rollups USING PRIMARY KEY"),
    ("day_rollups", "latest_day_before", "day_rollups USING PRIMARY KEY"),
    ("day_rollups", "roll_sums", "cell USING INDEX usage_rollups_by_hour"),
    ("day_rollups", "hours_of", "cell USING INDEX usage_rollups_by_hour"),
    ("day_rollups", "last_customer", "cell USING COVERING INDEX usage_rollups_by_hour"),
    ("day_rollups", "customer_after", "cell USING COVERING INDEX usage_rollups_by_hour"),
    ("day_rollups", "mark_stale", "rolled USING COVERING INDEX"),
    ("day_rollups", "under_way", "rolled_days USING INDEX rolled_days_under_way"),
    ("events", "in_force", "rolled_days USING COVERING INDEX rolled_days_by_day"),
    ("history", "cells_of", "cell USING PRIMARY KEY"),
    ("history", "hour_cells", "cell USING PRIMARY KEY"),
    ("history", "latest_cell_before", "cell USING PRIMARY KEY"),
    ("history", "hour_events", "history USING INTEGER PRIMARY KEY"),
    ("history", "is_history", "history_events USING INTEGER PRIMARY KEY"),
    ("history", "span", "history_spans USING PRIMARY KEY"),
    ("archive", "parts_of_day", "archive_parts USING PRIMARY KEY"),
    ("archive", "chained_events", "event USING INTEGER PRIMARY KEY"),
    ("archive", "corrections_of", "event_corrections USING COVERING INDEX"),
    ("corrections", "event_to_correct", "event_corrections USING COVERING INDEX"),
    ("corrections", "hour_dimensions", "usage_rollups USING COVERING INDEX usage_rollups_by_hour"),
    ("api_keys", "find_key", "api_keys USING INDEX"),
    ("lateness", "delays_of_types", "usage_events USING INTEGER PRIMARY KEY"),
    ("lateness", "events_of_type", "usage_events USING INTEGER PRIMARY KEY"),
    ("lateness", "delays", "event_delays USING PRIMARY KEY"),
]
TABLES = r"SCAN (usage_\w+|event_\w+|day_\w+|event|cell|correction|rolled|stale)( |$)"


@pytest.mark.parametrize(("topic", "name", "key"), HOT)
def test_a_hot_query_seeks(
    product: Tallystick, settings: Settings, topic: str, name: str, key: str
) -> None:
    assert product.events.count() == 0
    statement = statements(topic)[name]
    named = {parameter: 0 for parameter in re.findall(r":(\w+)", statement)}
    parameters = named or (0,) * statement.count("?")
    connection = sqlite3.connect(settings.sqlite_path())
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    connection.close()
    plan = [str(row[3]) for row in rows]
    assert any(key in step for step in plan), plan
    assert not [step for step in plan if re.match(TABLES, step)], plan
