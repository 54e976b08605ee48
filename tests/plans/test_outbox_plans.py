"""The outbox's hot statements are driven by small indexes, however many reports there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallystick.storage.sqlite.database import connect
from tallystick.storage.sqlite.migrations import migrate
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    from pathlib import Path

OUTBOX = statements("outbox")
STUCK = statements("stuck_reports")

PLANS = {
    ("outbox", "claimable"): ["usage_reports_ready"],
    ("outbox", "wake"): ["usage_reports_waiting"],
    ("outbox", "lease"): ["usage_reports USING INTEGER PRIMARY KEY"],
    ("outbox", "settle"): ["usage_reports USING INTEGER PRIMARY KEY"],
    ("outbox", "next_in_lane"): ["usage_reports_lanes"],
    ("outbox", "next_attempt_at"): ["usage_reports_ready", "usage_reports_waiting"],
    ("outbox", "reported"): ["report_totals USING PRIMARY KEY"],
    ("outbox", "take_from_total"): ["report_totals USING PRIMARY KEY"],
    ("outbox", "reports_of_period"): ["sqlite_autoindex_usage_reports_2"],
    ("stuck_reports", "next_unverified"): ["usage_reports_unverified"],
    ("stuck_reports", "find_stuck"): ["usage_reports_stuck"],
    ("stuck_reports", "count_stuck"): ["usage_reports_stuck"],
    ("stuck_reports", "verify"): ["usage_reports USING INTEGER PRIMARY KEY"],
    ("stuck_reports", "look_again"): ["usage_reports USING INTEGER PRIMARY KEY"],
    ("stuck_reports", "leave"): ["usage_reports USING INTEGER PRIMARY KEY"],
    ("stuck_reports", "report_of_identifier"): ["sqlite_autoindex_usage_reports_1"],
    ("stuck_reports", "reject"): [
        "sqlite_autoindex_usage_reports_1",
        "usage_reports_cancellations",
    ],
}


@pytest.mark.parametrize(("topic", "name"), PLANS)
def test_a_hot_statement_uses_its_index(tmp_path: Path, topic: str, name: str) -> None:
    path = tmp_path / "plans.db"
    migrate(path, 0)
    statement = {"outbox": OUTBOX, "stuck_reports": STUCK}[topic][name]
    connection = connect(path)
    try:
        parameters: dict[str, None] | list[None] = dict.fromkeys(_names(statement))
        parameters = parameters or [None] * statement.count("?")
        rows = connection.execute("EXPLAIN QUERY PLAN " + statement, parameters).fetchall()
    finally:
        connection.close()
    plan = "\n".join(row[3] for row in rows)
    for index in PLANS[topic, name]:
        assert index in plan, plan
    assert "USE TEMP B-TREE" not in plan
    scans = [line for line in plan.splitlines() if line.startswith("SCAN usage_reports")]
    assert all("USING" in scan for scan in scans), plan


def _names(statement: str) -> list[str]:
    import re

    return re.findall(r":(\w+)", statement)
