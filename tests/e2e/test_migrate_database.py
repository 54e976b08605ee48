"""`tallystick migrate-database`: all of a SQLite file is in PostgreSQL, whatever happens."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallystick.config import Settings
from tallystick.domain.aggregation import quantity_of
from tallystick.domain.corrections import Correction
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.domain.instants import HOUR_US
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.domain.subscriptions import CustomerLink
from tallystick.ports.directory import Account
from tallystick.ports.errors import StoreUnusable
from tallystick.ports.inbox import ArrivedEvent, Brought
from tallystick.ports.mirror import PresentItem
from tallystick.ports.outbox import Outcome, Settlement
from tallystick.wiring import Tallystick
from tests.contract.backends import NOW, put_in_force
from tests.contract.planning import LEASE_US, plan, planned
from tests.contract.test_mirror import read, state, subscribed
from tests.fixtures.clock import FakeClock
from tests.fixtures.commands import tallystick

if TYPE_CHECKING:
    from pathlib import Path

METERS = (
    Meter("seen", "", "seen", Aggregation.COUNT),
    Meter("weight", "", "seen", Aggregation.SUM, decimals=12, group_by=("region",)),
    Meter("last", "", "seen", Aggregation.LAST_EVER, decimals=12),
    Meter("users", "", "seen", Aggregation.UNIQUE_COUNT, counted_property="user"),
)
EVENTS = 900
EVER = Period(NOW - 1_000 * HOUR_US, NOW + 1_000 * HOUR_US)

KILLED = """
import os, signal, sys
from tallystick.cli.main import main
from tallystick.oversight import moving
from tallystick.storage.postgres.moving import PostgresTarget

kept, left, moving.BATCH_ROWS = PostgresTarget.add, int(sys.argv.pop(1)), int(sys.argv.pop(1))

def add(self, table, rows):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    kept(self, table, rows)

PostgresTarget.add = add
main()
"""


def event(number: int) -> UsageEvent:
    raw = json.dumps({"user": f"u{number % 7}", "region": ["eu", "us"][number % 2]}).encode()
    at = NOW - number * HOUR_US // 9
    value = Decimal(number).scaleb(-number % 12)
    return UsageEvent("s", f"ü{number}", "seen", f"c{number % 5}", at, value, raw)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A SQLite installation with something of everything."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    with Tallystick(Settings(database_url=url), FakeClock(NOW)) as product:
        put_in_force(product, METERS)
        product.installation.adopt(Account("acct_1", livemode=False))
        events = [event(number) for number in range(EVENTS)]
        product.events.append(events[: EVENTS // 2], NOW).result()
        product.events.append(events[EVENTS // 2 :], NOW, is_history=True).result()
        corrections = [
            Correction("s", "ü3", None, "ann", "void"),
            Correction("s", f"ü{EVENTS - 1}", Decimal("0.5"), "ann", "wrong unit"),
        ]
        product.events.correct(corrections, NOW).result()
        product.book.notice(EVENTS // 3)
        product.customers.link([CustomerLink("c1", "cus_1"), CustomerLink("c2", "cus_2")], NOW)
        plan(product, planned("c1", quantity="0.25"), planned("c1", 1), planned("c2"))
        claims = product.outbox.claim(NOW, LEASE_US, 9)
        outcomes = [
            Outcome(claim, Settlement(ReportState.DEAD, "no_meter")) for claim in claims[:1]
        ]
        product.outbox.settle(outcomes, NOW)
        arrived = ArrivedEvent("evt_1", "x", None, False, b"\x00\xff{}", Brought.SWEEP)
        product.inbox.add(arrived, NOW).result()
        product.mirror.keep([subscribed(PresentItem("si_1", state(), None, None)), read("cus_1")])
        product.sync_ledger.begin("evt_1", 10, NOW)
        while product.lateness.tally([meter.selection for meter in METERS], 100):
            pass
    return url


def killed_after(batches: int, source: str, target: str, *, batch_rows: int = 100) -> None:
    """Move, and end by ``kill -9`` when so many batches are there."""
    command = ["migrate-database", "--from", source, "--to", target]
    arguments = [str(batches), str(batch_rows), *command]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def migrate(source: str, target: str) -> subprocess.CompletedProcess[str]:
    return tallystick("migrate-database", "--from", source, "--to", target, "--json")


def test_a_move_that_is_killed_goes_on_and_leaves_nothing_out(
    source: str, postgres_url: str
) -> None:
    for batches in (3, 9):
        killed_after(batches, source, postgres_url)
    with pytest.raises(StoreUnusable, match="migrate-database"):
        Tallystick(Settings(database_url=postgres_url), FakeClock(NOW))
    done = migrate(source, postgres_url)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["differences"] == []
    assert answer["rows"]["usage_events"] == answer["rows"]["event_identities"] == EVENTS
    assert 0 < answer["rows_resumed"] < sum(answer["rows"].values())
    assert_goes_on(source, postgres_url)
    again = migrate(source, postgres_url)
    assert (again.returncode, "target_in_use" in again.stdout) == (2, True)


def assert_goes_on(source: str, target: str) -> None:
    """Both say the same, and the new one goes on where the old one was."""
    with (
        Tallystick(Settings(database_url=source), FakeClock(NOW)) as old,
        Tallystick(Settings(database_url=target), FakeClock(NOW)) as new,
    ):
        assert old.book.reports() == new.book.reports()
        assert old.inbox.events(None, 9) == new.inbox.events(None, 9)
        assert old.mirror.items("cus_1") == new.mirror.items("cus_1")
        assert old.sync_ledger.state() == new.sync_ledger.state()
        assert old.catalog.applied() == new.catalog.applied()
        assert old.installation.account() == new.installation.account()
        for product in (old, new):
            statuses = product.events.append([event(0), event(EVENTS)], NOW).result()
            assert statuses == [EventStatus.DUPLICATE, EventStatus.ACCEPTED]
            noticed = 0
            while found := product.book.notice(100):
                noticed += found
            assert noticed == EVENTS - EVENTS // 3 + 1
            plan(product, planned("c3"), planned("c1", 2))
            arrived = ArrivedEvent("evt_2", "x", None, False, b"", Brought.SWEEP)
            assert product.inbox.add(arrived, NOW).result()
        for meter in METERS:
            for customer in ("c0", "c1"):
                ours = old.usage.usage(meter, customer, EVER)
                theirs = new.usage.usage(meter, customer, EVER)
                assert quantity_of(ours, meter.aggregation) == quantity_of(
                    theirs, meter.aggregation
                )
        assert old.book.due(None, None, 99) != []
        assert [d[:2] for d in old.book.due(None, None, 99)] == [
            d[:2] for d in new.book.due(None, None, 99)
        ]


def test_a_file_that_is_open_is_not_moved(source: str, postgres_url: str) -> None:
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as connection:
        connection.execute("SELECT COUNT(*) FROM usage_events").fetchone()
        refused = migrate(source, postgres_url)
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (
        2,
        "source_in_use",
    )


def test_a_target_with_data_of_its_own_is_refused(source: str, postgres_url: str) -> None:
    with Tallystick(Settings(database_url=postgres_url), FakeClock(NOW)) as product:
        product.customers.link([CustomerLink("mine", "cus_mine")], NOW)
    refused = migrate(source, postgres_url)
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (
        2,
        "target_in_use",
    )


def test_a_source_that_was_written_to_since_is_refused(source: str, postgres_url: str) -> None:
    killed_after(4, source, postgres_url)
    with Tallystick(Settings(database_url=source), FakeClock(NOW)) as product:
        product.events.append([event(EVENTS + 1)], NOW).result()
    refused = migrate(source, postgres_url)
    assert (refused.returncode, "earlier state" in refused.stdout) == (2, True)
