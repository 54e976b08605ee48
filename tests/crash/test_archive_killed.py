"""`archive run` and `restore`, and the rolling up of days, are killed at every step: nothing is
lost or doubled, and the next time they finish.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.corrections import Correction
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.wiring import Tallystick
from tests.contract.archiving import archive_everything, archiver_of
from tests.contract.backends import NOW, put_in_force
from tests.crash.archive_until import restore_everything, settings_of
from tests.fixtures.clock import FakeClock
from tests.fixtures.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.domain.aggregation import RollupState
    from tallystick.ports.event_store import StoredEvent

METERS = (
    Meter("sum", "", "seen", Aggregation.SUM, decimals=3),
    Meter("level", "", "seen", Aggregation.TIME_WEIGHTED, decimals=3),
)
DAY = NOW - NOW % DAY_US - 5 * DAY_US
EVENTS = [
    UsageEvent(
        "s",
        f"e{number}",
        "seen",
        f"c{number % 3}",
        DAY + number % 4 * HOUR_US + number * 1_000_003,
        Decimal(number).scaleb(-3),
        b'{"n":%d}' % number,
    )
    for number in range(80)
]


def prepare(folder: Path) -> None:
    """Make an installation with one day that may leave, one event of it void, and one event of
    today.
    """
    folder.mkdir()
    with Tallystick(settings_of(folder), FakeClock(NOW)) as product:
        put_in_force(product, METERS)
        product.events.append(EVENTS, NOW).result()
        product.events.correct([Correction("s", "e7", None, "ann", "a test")], NOW).result()
        today = UsageEvent("s", "today", "seen", "c0", NOW, Decimal(1))
        product.events.append([today], NOW).result()
        while product.book.notice(1_000) == 1_000:
            pass


def state_of(product: Tallystick) -> list[StoredEvent]:
    """Return every event, after a check of all that must hold."""
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
        events = sorted(snapshot.events())
    assert [finding for check in checks for finding in check.findings] == []
    assert len(events) == product.events.count()
    archiver = archiver_of(product)
    assert not any(archiver.check(day_at).failures for day_at in archiver.archived_days(0, NOW))
    return events


def rows_of(folder: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "tallystick.db")) as connection:
        return connection.execute("SELECT * FROM usage_events ORDER BY seq").fetchall()


def deaths(folder: Path, what: str) -> list[str]:
    """Kill copies of an installation at every step of a command; return where each died."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.archive_until", str(folder), what],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_restore_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    prepare(tmp_path / "start")
    rows = rows_of(tmp_path / "start")
    with Tallystick(settings_of(tmp_path / "start"), FakeClock(NOW)) as product:
        archive_everything(product)
        before = state_of(product)
    died = deaths(tmp_path, "restore")
    assert died.count("after _count_dropped") == 2  # batches of one day
    for number, step in enumerate(died):
        folder = tmp_path / str(number)
        with Tallystick(settings_of(folder), FakeClock(NOW)) as product:
            assert before == state_of(product), step
            restore_everything(product)
            assert before == state_of(product), step
            assert product.archive_ledger.parts() == []
        assert rows == rows_of(folder), step


def test_a_run_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    prepare(tmp_path / "start")
    with Tallystick(settings_of(tmp_path / "start"), FakeClock(NOW)) as product:
        before = state_of(product)
    died = deaths(tmp_path, "run")
    assert {"before keep", "after keep", "after drop", "after rename"} <= set(died)
    assert died.count("after _count_dropped") == 2  # batches of one day
    for number, step in enumerate(died):
        folder = tmp_path / str(number)
        with Tallystick(settings_of(folder), FakeClock(NOW)) as product:
            assert before == state_of(product), step
            again = product.events.append(EVENTS[:3], NOW).result()
            assert again == [EventStatus.DUPLICATE] * 3, step
            archive_everything(product)
            assert before == state_of(product), step
        assert len(rows_of(folder)) == 1, step
        files = [path.suffix for path in (folder / "archive").rglob("part-*")]
        assert files == [".parquet"], step


def usage_of(product: Tallystick) -> list[RollupState]:
    """Return what each customer used of each meter, in whole days and hours."""
    period = Period(DAY - DAY_US, NOW)
    return [
        product.usage.usage(meter, f"c{number}", period) for meter in METERS for number in range(3)
    ]


def test_rolling_days_up_killed_at_any_step_changes_no_usage(tmp_path: Path) -> None:
    prepare(tmp_path / "start")
    with Tallystick(settings_of(tmp_path / "start"), FakeClock(NOW)) as product:
        product.day_roller.keep_up()
        changed = [
            UsageEvent("s", f"{day}-{customer}", "seen", customer, DAY + day * DAY_US, Decimal(3))
            for day in (0, 1)  # of the first day the rollups are stale by that
            for customer in ("c1", "c2")
        ]
        product.events.append(changed, NOW).result()
        before = usage_of(product)
    died = deaths(tmp_path, "roll")
    assert {"before begin", "after begin", "before step", "after step", "after _roll"} <= set(died)
    assert died.count("after _roll") == 8  # two selections, two days, two customers
    for number, step in enumerate(died):
        with Tallystick(settings_of(tmp_path / str(number)), FakeClock(NOW)) as product:
            assert before == usage_of(product), step
            state_of(product)
            product.day_roller.keep_up()
            assert before == usage_of(product), step
            state_of(product)
