"""Real-shaped events imported, then voided and replaced at random: `verify` finds nothing.

After one rollup is altered by hand, it names the cell. A million of them:
`TALLYSTICK_IMPORTED_EVENTS=1000000 .venv/bin/python -m pytest -s tests/e2e/test_million_events.py`
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.billing.catalog_file import read_catalog
from tallystick.cli.local_servers import LocalServer
from tallystick.config import Settings
from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.instants import format_instant
from tallystick.wiring import Tallystick
from tests.fixtures.commands import tallystick
from tests.fixtures.keys import key_for
from tests.fixtures.paths import CATALOG_FILE, LOG_FILE
from tests.fixtures.seeds import chosen_seed

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = int(os.environ.get("TALLYSTICK_IMPORTED_EVENTS", "20000"))
CORRECTED_SHARE = 0.02
CORRECTIONS_AT_ONCE = 500
SCANNED_AT_ONCE = 50_000
LOG_DAYS_SECONDS = 4 * 86_400
VERIFY = ("verify", "--no-stripe")


def write_log(path: Path, count: int) -> None:
    """Write the example's log again and again, each time four days later."""
    lines = gzip.decompress(LOG_FILE.read_bytes()).decode("utf-8", "replace").splitlines()
    parts = [line.partition("[") for line in lines]
    times = [part[2].partition("]") for part in parts]
    moments = [datetime.strptime(at[0], "%d/%b/%Y:%H:%M:%S %z") for at in times]
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        for number in range(count):
            place = number % len(lines)
            seconds = moments[place].timestamp() + number // len(lines) * LOG_DAYS_SECONDS
            at = datetime.fromtimestamp(seconds, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
            file.write(f"{parts[place][0]}[{at}]{times[place][2]}\n")


def correct_at_random(product: Tallystick, random: Random) -> tuple[int, int]:
    """Void or replace some events, some of them again; return how many, and how many are void."""
    chosen = random.choices(range(1, EVENTS + 1), k=int(EVENTS * CORRECTED_SHARE))
    wanted = frozenset(chosen)
    stored = {
        found.seq: found.event
        for first in range(0, EVENTS, SCANNED_AT_ONCE)
        for found in product.events.scan(first, SCANNED_AT_ONCE)
        if found.seq in wanted
    }
    values: dict[int, Decimal | None] = {}
    for first in range(0, len(chosen), CORRECTIONS_AT_ONCE):
        corrections = []
        for seq in chosen[first : first + CORRECTIONS_AT_ONCE]:
            values[seq] = None if random.random() < 0.5 else Decimal(random.randrange(10**6))
            event = stored[seq]
            corrections.append(Correction(event.source, event.id, values[seq], "ann", "a test"))
        statuses = product.events.correct(corrections, product.clock.now()).result()
        assert set(statuses) <= {CorrectionStatus.CORRECTED, CorrectionStatus.UNCHANGED}
    return len(values), sum(value is None for value in values.values())


class Figures:
    """Says on the way how long each step took."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def say(self, what: str) -> None:
        now = time.monotonic()
        sys.stdout.write(f"{what}: {now - self._since:.1f} s\n")
        self._since = now


@pytest.mark.timeout(600 + EVENTS // 50)
def test_verify_finds_nothing_but_the_cell_that_was_altered(tmp_path: Path) -> None:
    random = Random(chosen_seed())
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'tallystick.db'}")
    environment = {
        "TALLYSTICK_DATABASE_URL": settings.database_url,
        "TALLYSTICK_STRIPE_API_KEY": "",
    }
    with Tallystick(settings) as product:
        catalog = read_catalog(CATALOG_FILE)
        meter_ids = {meter.key: f"mtr_{meter.key}" for meter in catalog.meters}
        price_ids = {price.key: f"price_{price.key}" for price in catalog.prices}
        product.catalog.keep(catalog, meter_ids, price_ids, product.clock.now())
        environment["TALLYSTICK_API_KEY"] = key_for(product, "test")
    log = tmp_path / "access.log.gz"
    write_log(log, EVENTS)
    figures = Figures()
    with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server:
        command = ("import", str(log), "--format", "access-log", "--batch", "2000")
        sent = answer_of(0, *command, "--url", server.url, environment=environment)
        assert (sent["rows"], sent["accepted"], sent["refused"]) == (EVENTS, EVENTS, 0)
        figures.say(f"{EVENTS:,} events imported")
        with Tallystick(settings) as product:  # beside the server that runs
            corrected, void = correct_at_random(product, random)
        figures.say(f"{corrected:,} events corrected, {void:,} of them void")
    verified = answer_of(0, *VERIFY, environment=environment)
    assert verified["ok"], verified
    checks = {check["name"]: check for check in verified["checks"]}
    assert checks["events_counted_once"]["checked"] == EVENTS
    rollups = checks["usage_equals_recount"]["checked"]
    figures.say(f"verified: {EVENTS:,} events, {rollups:,} rollups, nothing found")

    hour_at, customer = alter_a_rollup(tmp_path / "tallystick.db", random)
    verified = answer_of(1, *VERIFY, environment=environment)
    assert not verified["ok"]
    wrong = {check["name"]: check["findings"] for check in verified["checks"] if not check["holds"]}
    (finding,) = wrong.pop("usage_equals_recount")
    assert f"hour {hour_at}, " in finding
    assert f"customer {customer}" in finding
    # where the server had rolled the day up by then, the day is not what its hours come to either
    of_the_day = wrong.pop("events_counted_once", [])
    assert len(of_the_day) <= 1
    assert all(f"day {hour_at[:10]}, customer {customer}, " in each for each in of_the_day)
    assert wrong == {}
    figures.say(f"verified after one rollup was altered: {finding}")


def answer_of(exit_code: int, *command: str, environment: dict[str, str]) -> dict[str, Any]:
    """Return what a command prints with `--json` that ends so."""
    seconds_max = 600 + EVENTS // 100
    done = tallystick(*command, "--json", environment=environment, seconds_max=seconds_max)
    assert done.returncode == exit_code, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def alter_a_rollup(path: Path, random: Random) -> tuple[str, str]:
    """Count one event more in some rollup; return its hour and customer."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (count,) = connection.execute("SELECT COUNT(*) FROM usage_rollups").fetchone()
        key = connection.execute(
            "SELECT hour_at, selection_id, customer, dimension FROM usage_rollups "
            "ORDER BY hour_at, selection_id, customer, dimension LIMIT 1 OFFSET ?",
            (random.randrange(count),),
        ).fetchone()
        connection.execute(
            "UPDATE usage_rollups SET event_count = event_count + 1 WHERE "
            "(hour_at, selection_id, customer, dimension) = (?, ?, ?, ?)",
            key,
        )
    return format_instant(key[0]), key[2]
