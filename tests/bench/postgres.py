"""Ingest and live usage on PostgreSQL over HTTP: one core for the server, one for all the rest."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.corpus import CUSTOMERS, Corpus, month_start
from tests.bench.load import LoadResult, drive
from tests.bench.server import processor_seconds, running_server
from tests.fixtures.postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.load import Target
    from tests.fixtures.postgres import PostgresServer

BATCH = 100
CONNECTIONS = 50
ROUNDS = 3
LIVE_STEP = timedelta(microseconds=20)

GOALS: dict[str, tuple[str, float | None]] = {
    "pg_ingest_batch100": ("events/s", 12_000),
    "pg_ingest_single": ("events/s", None),
    "pg_usage_read_p99_ms": ("ms", 10),
}
NAMES = tuple(GOALS)
AS_IN_PRODUCTION = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "15min"}
"""What its manual advises for a machine with some memory; commits wait for the disk."""


class Scale(NamedTuple):
    """How much is stored and sent; the quick form only shows that everything runs."""

    stored: int
    round: int
    singles: int
    reads: int


FULL = Scale(stored=1_000_000, round=100_000, singles=10_000, reads=4_000)
QUICK = Scale(stored=20_000, round=10_000, singles=1_000, reads=400)


class Measured(NamedTuple):
    """The figures, and processor times, which other work on the machine changes less."""

    values: dict[str, float]
    asides: dict[str, float]


def measure(folder: Path, seed: int, *, quick: bool) -> Measured:
    """Return every figure, measured one after another on one database."""
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        stack.enter_context(_on_core(cores[-1]))
        database = stack.enter_context(postgres_server(AS_IN_PRODUCTION))
        database.execute("CREATE DATABASE bench")
        with _on_core(cores[0]):
            running = running_server(database.url("bench"), folder)
            target, pid = stack.enter_context(running)
        return _figures(_Parts(target, pid, database), QUICK if quick else FULL, seed)


class _Parts(NamedTuple):
    target: Target
    server_pid: int
    database: PostgresServer

    def processor_us(self) -> tuple[float, float]:
        """Return the processor time that the server has used, and the database."""
        in_database = sum(processor_seconds(pid) for pid in self.database.process_ids)
        return 1e6 * processor_seconds(self.server_pid), 1e6 * in_database


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _figures(parts: _Parts, scale: Scale, seed: int) -> Measured:
    target = parts.target
    corpus = Corpus(seed, ordered=True)
    now = datetime.now(UTC)
    start = month_start(now)
    _send(target, corpus, scale.stored, 5 * BATCH, start, (now - start) / scale.stored, 8)
    before = parts.processor_us()
    rounds = [
        _send(target, corpus, scale.round, BATCH, _recently(), LIVE_STEP).per_second
        for _ in range(ROUNDS)
    ]
    after = parts.processor_us()
    singles = [
        _send(target, corpus, scale.singles, 1, _recently(), LIVE_STEP).per_second
        for _ in range(ROUNDS)
    ]
    sent = ROUNDS * scale.round
    return Measured(
        {
            "pg_ingest_batch100": median(rounds),
            "pg_ingest_single": median(singles),
            "pg_usage_read_p99_ms": _reads(target, scale.reads, Random(seed)),
        },
        {
            "pg_server_us_per_event": (after[0] - before[0]) / sent,
            "pg_database_us_per_event": (after[1] - before[1]) / sent,
        },
    )


def _recently() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=1)


def _send(
    target: Target,
    corpus: Corpus,
    events: int,
    batch: int,
    start: datetime,
    step: timedelta,
    connections: int = CONNECTIONS,
) -> LoadResult:
    bodies = corpus.batches(events // batch, batch, start, step)
    requests = [target.request("POST", "/v1/events", body) for body in bodies]
    return drive(target, requests, connections)


def _reads(target: Target, count: int, draw: Random) -> float:
    start = f"{month_start(datetime.now(UTC)):%Y-%m-%dT%H:%M:%SZ}"
    requests = [
        target.request(
            "GET", f"/v1/customers/cust_{draw.randrange(CUSTOMERS):05d}/usage?from={start}"
        )
        for _ in range(count)
    ]
    return drive(target, requests, 1).percentile_ms(0.99)
