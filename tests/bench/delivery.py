"""What delivery costs: choosing among a million, one call an event, a hundred events a call."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stripe

from tallystick.cli.local_servers import LocalServer
from tallystick.config import Settings
from tallystick.domain.instants import HOUR_US
from tallystick.domain.periods import Period
from tallystick.domain.reports import (
    PlannedReport,
    ReportState,
    ReportWay,
    report_identifier,
)
from tallystick.pipeline.deliver import CLAIM_BATCH, LEASE_US
from tallystick.ports.clock import SystemClock
from tallystick.ports.outbox import Due
from tallystick.stripe_gateway.transport import Transport
from tallystick.wiring import Tallystick
from tests.fixtures.billed_customers import METER, BilledCustomers

if TYPE_CHECKING:
    from collections.abc import Iterator

GOALS: dict[str, tuple[str, float]] = {
    "deliver_v1": ("events/s per core", 600),
    "deliver_stream": ("events/s per core", 10_000),
    "outbox_pick_ms": ("ms", 10),
}
NAMES = tuple(GOALS)

PICKS = 200
PER_CUSTOMER = 50


@dataclass
class Measured:
    """Values by the names of the goals, and what is worth knowing beside them."""

    values: dict[str, float] = field(default_factory=dict)
    asides: dict[str, float] = field(default_factory=dict)


def measure(names: set[str], *, quick: bool) -> Measured:
    """Measure what was asked for."""
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        if "outbox_pick_ms" in names:
            _measure_pick(Path(folder), 20_000 if quick else 1_000_000, measured)
        ways = {
            "deliver_v1": ReportWay.METER_EVENTS,
            "deliver_stream": ReportWay.METER_EVENT_STREAM,
        }
        for name in names & ways.keys():
            number = (500 if quick else 5_000) * (20 if name == "deliver_stream" else 1)
            _measure_delivery(Path(folder), name, ways[name], number, measured)
        if "deliver_v1" in names:
            _measure_transports(Path(folder), 100 if quick else 1_000, measured)
    return measured


def _measure_pick(folder: Path, number: int, measured: Measured) -> None:
    """Choose and lease the next reports among many pending, one after the other."""
    clock = SystemClock()
    settings = Settings(database_url=f"sqlite:///{folder / 'pick.db'}")
    with Tallystick(settings, clock) as product:
        customers = [f"cus_{lane}" for lane in range(number // 4)]
        for due, planned in _plans(number, clock.now(), ReportWay.METER_EVENTS, customers):
            product.book.record(due, planned, clock.now(), due_again_at=None)
        times_ms = []
        for _ in range(PICKS):
            began = time.perf_counter()
            claims = product.outbox.claim(clock.now(), LEASE_US, CLAIM_BATCH)
            times_ms.append((time.perf_counter() - began) * 1_000)
            assert len(claims) == CLAIM_BATCH
    measured.values["outbox_pick_ms"] = statistics.median(times_ms)
    measured.asides["outbox_pick_p99_ms"] = statistics.quantiles(times_ms, n=100)[98]


def _plans(
    number: int, now: int, way: ReportWay, stripe_ids: list[str]
) -> Iterator[tuple[Due, list[PlannedReport]]]:
    """Yield pending reports, a thousand at a time, several of each Stripe customer."""
    period = Period(now - 24 * HOUR_US, now + 600 * HOUR_US)
    drawn = random.Random(1)
    reports: list[PlannedReport] = []
    for index in range(number):
        sequence, lane = divmod(index, len(stripe_ids))
        customer, quantity = f"c{lane}", Decimal(drawn.randrange(1, 1_000))
        stripe_customer_id = stripe_ids[lane]
        reports.append(
            PlannedReport(
                customer=customer,
                stripe_customer_id=stripe_customer_id,
                meter_key=METER,
                period=period,
                window=period,
                sequence=sequence,
                quantity=quantity,
                timestamp=now // 1_000_000 - 3_600,
                identifier=report_identifier(customer, METER, period, sequence, quantity),
                state=ReportState.PENDING,
                reason=None,
                closes_at=period.end_at - drawn.randrange(500) * HOUR_US,
                way=way,
            )
        )
        if len(reports) == 1_000 or index == number - 1:
            yield Due(customer, METER, 0), reports
            reports = []


def _settings(folder: Path, name: str, url: str) -> Settings:
    return Settings(
        database_url=f"sqlite:///{folder / name}.db",
        stripe_api_key=f"sk_test_{name}",
        stripe_api_base=url,
        stripe_rate=1_000_000,
    )


def _measure_delivery(
    folder: Path, name: str, way: ReportWay, number: int, measured: Measured
) -> None:
    """Deliver to the sandbox, in a process of its own, and count our own processor time."""
    clock = SystemClock()
    with LocalServer("sandbox", ["sandbox", "--port", "0"], {}, folder) as sandbox:
        settings = _settings(folder, name, sandbox.url)
        with Tallystick(settings, clock) as product:
            client = BilledCustomers(product, settings, clock).client
            customers = [client.v1.customers.create().id for _ in range(number // PER_CUSTOMER)]
            for due, planned in _plans(number, clock.now(), way, customers):
                product.book.record(due, planned, clock.now(), due_again_at=None)
            began, began_cpu = time.perf_counter(), time.process_time()
            outcomes = product.deliverer.run()
            took, took_cpu = time.perf_counter() - began, time.process_time() - began_cpu
            assert outcomes == {"delivered": number}, outcomes
    measured.values[name] = number / took_cpu
    measured.asides[f"{name}_wall_events_per_s"] = number / took


def _measure_transports(folder: Path, number: int, measured: Measured) -> None:
    """Send single meter events by each transport of the SDK; processor time per call."""
    transports: dict[str, Any] = {
        "requests": stripe.RequestsClient,
        "ours": Transport,
        "urllib": stripe.UrllibClient,
    }
    clock = SystemClock()
    with LocalServer("transports", ["sandbox", "--port", "0"], {}, folder) as sandbox:
        settings = _settings(folder, "transports", sandbox.url)
        with Tallystick(settings, clock) as product:
            stripe_id = BilledCustomers(product, settings, clock).stripe_ids["ada"]
        for name, transport in transports.items():
            client = stripe.StripeClient(
                settings.stripe_api_key or "",
                base_addresses={"api": sandbox.url},
                http_client=transport(),
            )
            began = time.process_time()
            for _ in range(number):
                client.v1.billing.meter_events.create(
                    {
                        "event_name": METER,
                        "payload": {"stripe_customer_id": stripe_id, "value": "1"},
                    }
                )
            cpu_ms = (time.process_time() - began) * 1_000 / number
            measured.asides[f"deliver_v1_{name}_cpu_ms_per_call"] = cpu_ms
