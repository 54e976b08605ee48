"""Ingest and live usage over HTTP, as figures with the goals that they are held against."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.bare import BareTable, commits_made
from tests.bench.corpus import CUSTOMERS, Corpus, month_start
from tests.bench.load import LoadResult, drive
from tests.bench.server import MeasuredServer, MemoryWatch, measured_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = 100
CONNECTIONS = 50
ROUNDS = 3
SINGLE_PACE = 4_000
LIVE_STEP = timedelta(microseconds=20)
_BARE = timedelta(seconds=1)
_BARE_FILL_ROWS = 1_000

NAMES = (
    "ingest_batch100",
    "ingest_batch100_vs_bare",
    "ingest_batch100_random_10m",
    "ingest_single",
    "ingest_single_p99_ms",
    "usage_read_p99_ms",
    "ingest_memory_mb",
    "ingest_cost_10m_vs_1m",
)


class Scale(NamedTuple):
    """How much is stored and sent; the quick form only shows that everything runs."""

    small: int
    large: int
    round: int
    singles: int
    reads: int


FULL = Scale(small=1_000_000, large=10_000_000, round=400_000, singles=40_000, reads=4_000)
QUICK = Scale(small=50_000, large=100_000, round=50_000, singles=4_000, reads=400)


class Bench:
    """One run on one database, which grows from the first figure to the last."""

    def __init__(self, server: MeasuredServer, scale: Scale, seed: int) -> None:
        self._server = server
        self._scale = scale
        self._ordered = Corpus(seed, ordered=True)
        self._random = Corpus(seed + 1, ordered=False)
        self._draw = Random(seed)
        self._costs: dict[int, float] = {}
        self.values: dict[str, float] = {}
        self.asides: dict[str, float] = {}

    def at_small(self, folder: Path) -> None:
        """Measure with the small number of events stored."""
        self._fill(self._ordered, self._scale.small)
        self._against_bare(folder)
        self._costs[self._scale.small] = 1 / self._random_rate()
        with self._processor("ingest_single", ROUNDS * self._scale.singles):
            singles = [self._singles(None).per_second for _ in range(ROUNDS)]
        self.values["ingest_single"] = median(singles)
        paced = [self._singles(SINGLE_PACE).percentile_ms(0.99) for _ in range(ROUNDS)]
        self.values["ingest_single_p99_ms"] = median(paced)

    def at_large(self) -> None:
        """Store the large number of events with random ids, and measure on top of it."""
        watch = MemoryWatch(self._server)
        self._fill(self._random, self._scale.large)
        with self._processor("ingest_batch100_random_10m", ROUNDS * self._scale.round):
            rate = self._random_rate()
        self._costs[self._scale.large] = 1 / rate
        self.values["ingest_batch100_random_10m"] = rate
        self.values["ingest_memory_mb"] = watch.stop()
        self.values["ingest_cost_10m_vs_1m"] = (
            self._costs[self._scale.large] / self._costs[self._scale.small]
        )
        self.values["usage_read_p99_ms"] = self._reads()

    def _against_bare(self, folder: Path) -> None:
        """Measure batches and SQLite alone by turns, so that both have the same minutes."""
        bare = BareTable(folder)
        missing = self._scale.small - bare.rows()
        bodies = self._ordered.batches(max(0, missing) // BATCH, BATCH, datetime.now(UTC), _BARE)
        bare.insert(bodies, _BARE_FILL_ROWS)
        rates, alone, at_once = [], [], []
        with self._processor("ingest_batch100", ROUNDS * self._scale.round):
            for _ in range(ROUNDS):
                before = commits_made(self._server.database)
                rates.append(self._round(self._ordered, CONNECTIONS).per_second)
                commits = commits_made(self._server.database) - before
                at_once.append(self._scale.round / commits)
                bodies = self._ordered.batches(
                    self._scale.round // BATCH, BATCH, datetime.now(UTC), _BARE
                )
                alone.append(bare.insert(bodies, round(at_once[-1])))
        bare.close()
        self.values["ingest_batch100"] = median(rates)
        self.values["ingest_batch100_vs_bare"] = median(
            ours / theirs for ours, theirs in zip(rates, alone, strict=True)
        )
        self.asides["bare_rows_per_second"] = median(alone)
        self.asides["rows_per_commit"] = median(at_once)

    @contextmanager
    def _processor(self, name: str, events: int) -> Iterator[None]:
        """Put beside a figure how much of a processor the server took for each event."""
        before = self._server.processor_seconds()
        yield
        used = self._server.processor_seconds() - before
        self.asides[f"{name}_processor_us"] = 1e6 * used / events

    def _fill(self, corpus: Corpus, until: int) -> None:
        """Store events, spread over the current month in the order of time, up to a number."""
        missing = until - self._server.events_stored()
        if missing <= 0:
            return
        now = datetime.now(UTC)
        start = month_start(now)
        first = start + (now - start) * (1 - missing / self._scale.large)
        batches = corpus.batches(
            -(-missing // (5 * BATCH)), 5 * BATCH, first, (now - first) / (missing + 5 * BATCH)
        )
        drive(self._server.target, self._posts(batches), 8)

    def _round(self, corpus: Corpus, connections: int) -> LoadResult:
        now = datetime.now(UTC) - timedelta(minutes=1)
        batches = corpus.batches(self._scale.round // BATCH, BATCH, now, LIVE_STEP)
        return drive(self._server.target, list(self._posts(batches)), connections)

    def _random_rate(self) -> float:
        return median(self._round(self._random, CONNECTIONS).per_second for _ in range(ROUNDS))

    def _singles(self, pace: int | None) -> LoadResult:
        now = datetime.now(UTC) - timedelta(minutes=1)
        batches = self._ordered.batches(self._scale.singles, 1, now, LIVE_STEP)
        return drive(self._server.target, list(self._posts(batches)), CONNECTIONS, pace)

    def _posts(self, batches: Iterator[bytes]) -> Iterator[bytes]:
        return (self._server.target.request("POST", "/v1/events", body) for body in batches)

    def _reads(self) -> float:
        start = f"{month_start(datetime.now(UTC)):%Y-%m-%dT%H:%M:%SZ}"
        paths = [
            f"/v1/customers/cust_{self._draw.randrange(CUSTOMERS):05d}/usage?from={start}"
            for _ in range(self._scale.reads)
        ]
        requests = [self._server.target.request("GET", path) for path in paths]
        return drive(self._server.target, requests, 1).percentile_ms(0.99)


def measure(scale: Scale, seed: int, folder: Path, wanted: set[str]) -> Bench:
    """Run what the wanted figures need, on a database in the folder; a filled one is used again."""
    with measured_server(folder, api_processes=1) as server:
        bench = Bench(server, scale, seed)
        bench.at_small(folder)
        if wanted & set(NAMES[2:3] + NAMES[5:]):
            bench.at_large()
    return bench
