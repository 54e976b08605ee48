"""Makes the database file of this version that later versions are tested to upgrade.

    python -m tests.migration.make_database NAME

Writes ``databases/NAME.db.gz`` and what the product says of it, ``NAME.json``. Made once for each
released version and never again: a file is what that version wrote.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from tallystick.billing.catalog_changes import apply_catalog
from tallystick.config import Settings
from tallystick.domain.aggregation import quantity_of
from tallystick.domain.catalog.reading import catalog_from_mapping
from tallystick.domain.corrections import Correction
from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, format_instant, parse_instant
from tallystick.domain.meters import Aggregation
from tallystick.domain.periods import Period
from tallystick.domain.quantity import plain
from tallystick.domain.reports import ReportState
from tallystick.oversight.invariants import check_store
from tallystick.ports.inbox import ArrivedEvent, Brought, MeterError
from tallystick.ports.outbox import Decision, StuckFilter
from tallystick.storage.sqlite import identities
from tallystick.wiring import Tallystick
from tests.fixtures.billed_customers import BilledCustomers
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.keys import key_for

FOLDER = Path(__file__).parent / "databases"
START = parse_instant("2026-01-28T09:30:30Z")
CUSTOMERS = ("ada", "bob", "leo")

EMPTY = frozenset({"archive_parts"})
"""Tables without rows: days that were moved into files beside the database."""

METERS: dict[str, Any] = {
    **{
        f"m_{each}": {"event_type": "seen", "aggregation": str(each), "decimals": 3}
        for each in Aggregation
        if each not in (Aggregation.COUNT, Aggregation.UNIQUE_COUNT)
    },
    "m_count": {"event_type": "seen", "aggregation": "count", "group_by": ["user"]},
    "m_unique": {"event_type": "seen", "aggregation": "unique_count", "property": "user"},
    "m_eu": {"event_type": "seen", "aggregation": "count", "filters": {"region": ["eu"]}},
}


def make(path: Path) -> dict[str, Any]:
    """Fill a new database with data of every kind; return what the product says of it."""
    sandbox = ClockedSandbox()
    clock = sandbox.clock
    clock.at = START
    settings = Settings(
        database_url=f"sqlite:///{path}",
        stripe_api_key=sandbox.new_key(),
        stripe_api_base=sandbox.url,
        stripe_rate=1_000_000,
    )
    identities.GATHERED_MAX, identities.STEP = 64, 16
    with Tallystick(settings, clock) as product:
        billed = BilledCustomers(product, settings, clock)
        more = catalog_from_mapping({"meters": METERS, "sources": {"edge": {"derive_ids": True}}})
        apply_catalog(more, product.catalog, product.stripe.catalog, clock)
        key_for(product, "old")
        _use(product, billed)
        _tell_stripe(product, billed, sandbox, settings)
        _hear_from_stripe(product)
        selections = [meter.selection for meter in product.catalog.meters().by_key.values()]
        while product.lateness.tally(selections, 1_000):
            pass
        sandbox.stop()
        _check(path)
        return describe(product, clock.now())


def _use(product: Tallystick, billed: BilledCustomers) -> None:
    """Send events, live and as history, on both sides of a period's start; correct some."""
    at = START + HOUR_US
    for number in range(240):
        event = UsageEvent(
            "edge" if number % 5 else "default",
            f"018f4c5e-{number:04x}-7000-8000-000000000000" if number % 3 else f"x{number}",
            "seen",
            CUSTOMERS[number % 3],
            at + (number * 37 % 240 - 40) * MINUTE_US,
            Decimal(number % 11).scaleb(-3),
            b'{"user":"u%d","region":"%s"}' % (number % 4, b"eu" if number % 2 else b"us"),
        )
        (status,) = product.events.append([event], START, is_history=number % 4 == 0).result()
        assert status == "accepted"
    for number, value in ((3, None), (6, Decimal(7)), (12, Decimal("0.125"))):
        wrong = Correction("edge", f"x{number}", value, "ann", "it was wrong")
        product.events.correct([wrong], at).result()
    for customer in CUSTOMERS:
        for number in range(6):
            billed.use(product, customer, at + number * MINUTE_US, 5 + number)


def _tell_stripe(
    product: Tallystick, billed: BilledCustomers, sandbox: ClockedSandbox, settings: Settings
) -> None:
    """Report: delivered and verified, dead and decided about, late and parked, and pending."""
    clock = sandbox.clock

    def advance(us: int) -> None:
        clock.advance(us)
        billed.advance_to(clock.now())

    def deliver() -> None:
        product.reporter.run(at_once=True)
        product.deliverer.run()
        product.confirmer.run()

    advance(DAY_US)
    deliver()
    sandbox.set_faults(settings.stripe_api_key or "", [{"kind": "meter_event_rejection"}])
    billed.use(product, "ada", clock.now() - HOUR_US, 11)
    billed.use(product, "bob", clock.now() - HOUR_US, 13)
    for _ in range(8):
        advance(3 * HOUR_US)
        deliver()
    sandbox.set_faults(settings.stripe_api_key or "", [])
    dead = product.stuck_reports.find(StuckFilter(ReportState.DEAD), 0, 10)
    decision = Decision("ann", "look at it", clock.now())
    product.dead_letters.retry([dead[0].id], decision, surely_missing=False)
    advance(40 * DAY_US)
    billed.use(product, "ada", START + 2 * HOUR_US, 17)
    deliver()
    billed.use(product, "bob", clock.now() - HOUR_US, 19)
    product.reporter.run(at_once=True)
    billed.use(product, "nobody", clock.now() - HOUR_US, 23)


def _hear_from_stripe(product: Tallystick) -> None:
    """Read everything into the mirror, and keep events in the inbox."""
    synchronizer = product.synchronizer
    synchronizer.plan(None)
    synchronizer.sync_fully(lambda *_: None)
    now = product.clock.now()
    for number in range(3):
        body = json.dumps({"id": f"evt_{number}", "object": "event"}).encode()
        arrived = ArrivedEvent(f"evt_{number}", "some.event", "v", False, body, Brought.WEBHOOK)
        product.inbox.add(arrived, now).result()
    product.meter_errors.keep(MeterError(0, "evt_9", "v1.error", None, b"{}", now))


def _check(path: Path) -> None:
    """Make sure that there is data of every kind."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        empty = {
            name
            for (name,) in tables
            if not connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]
        }
        merged = connection.execute("SELECT COUNT(*) FROM event_identities").fetchone()[0]
        states = {row[0] for row in connection.execute("SELECT state FROM usage_reports")}
    assert empty <= EMPTY, empty
    assert merged > 100
    assert states >= {"delivered", "dead", "replaced", "parked", "pending"}, states


def describe(product: Tallystick, now: int) -> dict[str, Any]:
    """Return what must still be true after an upgrade."""
    periods = [
        Period(START, START + DAY_US),
        Period(START + 17 * MINUTE_US, START + 3 * HOUR_US + 1),
        Period(START, now),
    ]
    meters = product.catalog.meters().by_key
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
        reports = [report.identifier for report in snapshot.reports()]
    return {
        "now": format_instant(now),
        "events": product.events.count(),
        "usage": {
            f"{customer} {key} {period}": _measured(product, customer, key, period)
            for customer in (*CUSTOMERS, "nobody")
            for key in sorted(meters)
            for period in periods
        },
        "findings": [finding for check in checks for finding in check.findings],
        "outbox": product.outbox.counts(),
        "depth": list(product.outbox.depth()),
        "reports": reports,
        "links": [link.stripe_customer_id for link in product.customers.links()],
        "inbox": product.inbox.counts(),
        "keys": [[key.name, sorted(key.scopes)] for key in product.api_keys.listed()],
    }


def _measured(product: Tallystick, customer: str, key: str, period: Period) -> list[str]:
    meter = product.catalog.meters().by_key[key]
    both = product.usage.usage_and_history(meter, customer, period)
    quantity = quantity_of(both.usage, meter.aggregation)
    return [plain(quantity), plain(both.reportable(meter.aggregation))]


def main() -> None:
    """Write the two files."""
    (name,) = sys.argv[1:]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.db"
        said = make(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        packed = gzip.compress(path.read_bytes(), 9, mtime=0)
    (FOLDER / f"{name}.db.gz").write_bytes(packed)
    (FOLDER / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
