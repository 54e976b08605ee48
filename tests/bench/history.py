"""A hundred million events, archived by the day: does what is live stay as fast as with a million?

    python -m tests.bench.history --days 100 --events 1000000 --folder DIR

Makes a database whose days are all archived, then measures ingest and live usage on it, and on
one with a million events over the same days, in turns. Run again on the folder, it only measures.

What is made how: the files are written by the product's archive (``ParquetArchive.write``, which
reads each back), the ledger's rows by its ledger. Rollups, spans and identities are what ingest
would have written, but are inserted in bulk, without the events passing through ``usage_events``;
`--check` lets the product verify some days. What is measured afterwards is the product alone.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sqlite3
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from tallystick.config import Settings
from tallystick.domain.events import UsageEvent, identity_of
from tallystick.domain.instants import DAY_US, HOUR_US, from_datetime
from tallystick.domain.meters import Selection
from tallystick.domain.quantity import parse_quantity
from tallystick.ports.event_store import StoredEvent
from tallystick.storage.archive.parquet import ParquetArchive
from tallystick.wiring import Tallystick
from tests.bench.corpus import CUSTOMERS, SKEW, Corpus
from tests.bench.load import drive
from tests.bench.server import MeasuredServer, measured_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.ports.archive import ArchivedPart

SMALL_EVENTS = 1_000_000
PART_EVENTS = 500_000
BUCKETS = 256
BATCH = 100
CONNECTIONS = 50
LIVE_STEP = timedelta(microseconds=20)
_PLACE_BYTES = 8
_ENTRY_BYTES = 16 + _PLACE_BYTES


class DayMade(NamedTuple):
    """A day that a worker wrote: its parts, its cells, and where its identities are."""

    parts: list[ArchivedPart]
    cells: list[tuple[int, str, int, int, int]]
    identities: list[bytes]


def make_day(folder: Path, day_at: int, first_seq: int, count: int, seed: int) -> DayMade:
    """Write a day's events to the archive; return what the database is to know of them."""
    archive = ParquetArchive(folder)
    cells: dict[tuple[int, str], list[int]] = {}
    buckets = [bytearray() for _ in range(BUCKETS)]
    events = _events(Random(seed), day_at, first_seq, count, cells, buckets)
    parts = []
    for number in range(-(-count // PART_EVENTS)):
        size = min(PART_EVENTS, count - number * PART_EVENTS)
        batch = [next(events) for _ in range(size)]
        parts.append(archive.write(day_at, number + 1, batch))
    rows = [(hour, customer, *cell) for (hour, customer), cell in sorted(cells.items())]
    return DayMade(parts, rows, [bytes(bucket) for bucket in buckets])


def _events(
    draw: Random,
    day_at: int,
    first_seq: int,
    count: int,
    cells: dict[tuple[int, str], list[int]],
    buckets: list[bytearray],
) -> Iterator[StoredEvent]:
    """Return events in the order of time, as a product would send them: 306 bytes of JSON each."""
    random, bits = draw.random, draw.getrandbits
    for number in range(count):
        seq = first_seq + number
        at = day_at + number * DAY_US // count
        noise = bits(120)
        tail = f"{noise & (1 << 62) - 1 | 2 << 62:016x}"
        head = f"{at // 1000:012x}"
        id_ = f"{head[:8]}-{head[8:]}-7{seq & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"
        customer = f"cust_{int(CUSTOMERS * random() ** SKEW):05d}"
        value = 200 + (noise >> 62) % 59_800
        properties = (
            f'{{"method":"{"GET" if noise >> 80 & 3 else "POST"}","path":"/v1/items/'
            f'{(noise >> 84) % 1_000_000}","status":{200 if noise >> 110 & 7 else 404},'
            f'"region":"eu-west-{(noise >> 113) % 3 + 1}","user_agent":"client/{noise >> 116}.4"}}'
        ).encode()
        digest = identity_of("default", id_)
        buckets[digest[0]] += digest + seq.to_bytes(_PLACE_BYTES, "big")
        cell = cells.setdefault((at - at % HOUR_US, customer), [0, 0, 0])
        cell[0] += 1
        cell[1] += value
        cell[2] = seq
        event = UsageEvent(
            "default", id_, "http_request", customer, at, parse_quantity(value), properties
        )
        yield StoredEvent(seq, at + (noise >> 90) % 2_000_000, event)


class History:
    """A database in a folder, with a number of archived days that end yesterday."""

    def __init__(self, folder: Path, days: int, events_a_day: int, out: Console) -> None:
        self.folder = folder
        self.database = folder / "bench.db"
        self._days = days
        self._events = events_a_day
        self._out = out

    def make(self, seed: int, workers: int) -> None:
        """Make it, unless it is there."""
        if self.database.exists():
            return
        self.folder.mkdir(parents=True)
        with measured_server(self.folder):
            pass  # makes the database and its meters
        unfinished = self.database.rename(self.database.with_suffix(".unfinished"))
        scratch = self.folder / "identities"
        scratch.mkdir()
        started = time.perf_counter()
        with sqlite3.connect(unfinished, isolation_level=None) as connection:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
            self._fill(connection, seed, workers, scratch)
            self._out.print(f"{_since(started)} days made")
            self._index(connection, scratch)
            self._out.print(f"{_since(started)} identities indexed")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        shutil.rmtree(scratch)
        unfinished.rename(self.database)

    def _fill(self, connection: sqlite3.Connection, seed: int, workers: int, scratch: Path) -> None:
        today = from_datetime(datetime.now(UTC)) // DAY_US * DAY_US
        archive = self.database.with_name(self.database.name + "-archive")
        selection = Selection("http_request").definition
        (selection_id,) = connection.execute(
            "SELECT id FROM selections WHERE definition = ?", (selection,)
        ).fetchone()
        spans: dict[str, tuple[int, int]] = {}
        first_at = today - self._days * DAY_US
        with ProcessPoolExecutor(workers) as pool:
            made = pool.map(
                make_day,
                [archive] * self._days,
                [first_at + day * DAY_US for day in range(self._days)],
                [1 + day * self._events for day in range(self._days)],
                [self._events] * self._days,
                [seed + day for day in range(self._days)],
            )
            for day in made:
                self._keep(connection, day, selection_id, spans, scratch)
        connection.executemany(
            "INSERT INTO usage_spans VALUES (?, ?, ?, ?)",
            [(who, selection_id, *span) for who, span in sorted(spans.items())],
        )

    def _keep(
        self,
        connection: sqlite3.Connection,
        day: DayMade,
        selection_id: int,
        spans: dict[str, tuple[int, int]],
        scratch: Path,
    ) -> None:
        day_at = day.parts[0].day_at
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO usage_rollups VALUES (?, ?, ?, '', ?, ?, 0, NULL, ?)",
            ((hour, selection_id, who, *cell) for hour, who, *cell in day.cells),
        )
        connection.executemany(
            "INSERT INTO archive_parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*part, part.event_count, day_at + DAY_US) for part in day.parts],
        )
        connection.execute("COMMIT")
        for _, who, *_ in day.cells:
            spans[who] = (spans.get(who, (day_at, 0))[0], day_at)
        for number, bucket in enumerate(day.identities):
            with (scratch / f"{number:03}").open("ab") as file:
                file.write(bucket)

    def _index(self, connection: sqlite3.Connection, scratch: Path) -> None:
        """Insert every identity in the order of the table's key."""
        for path in sorted(scratch.iterdir()):
            content = path.read_bytes()
            entries = sorted(
                content[start : start + _ENTRY_BYTES]
                for start in range(0, len(content), _ENTRY_BYTES)
            )
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO event_identities VALUES (?, ?)",
                ((entry[:16], int.from_bytes(entry[16:], "big")) for entry in entries),
            )
            connection.execute("COMMIT")
        # the newest event stays in the log, as it always does: its place is where numbers go on
        connection.execute(
            "INSERT INTO usage_events VALUES (?, 0, 'default', 'newest', 'http_request', 'newest',"
            " 0, 0, '1', x'')",
            (self._days * self._events + 1,),
        )
        connection.execute(
            "UPDATE identity_merges SET merged_seq = ?", (self._days * self._events,)
        )
        connection.execute(
            "UPDATE installation SET noticed_seq = ?", (self._days * self._events + 1,)
        )

    def check(self, days: int) -> int:
        """Let the product verify some of the archived days; return how many are not as they must
        be.
        """
        with Tallystick(Settings(database_url=f"sqlite:///{self.database}")) as product:
            archiver = product.archiver
            known = archiver.archived_days(0, 1 << 60)
            checked = [archiver.check(day_at) for day_at in known[:: max(1, len(known) // days)]]
        return sum(each.failures for each in checked)

    def size(self) -> dict[str, int]:
        """Return bytes of the database and of the archive, and the events in it."""
        with Tallystick(Settings(database_url=f"sqlite:///{self.database}")) as product:
            parts = [each.part for each in product.archive_ledger.parts()]
        return {
            "database_bytes": self.database.stat().st_size,
            "archive_bytes": sum(part.size_bytes for part in parts),
            "archived_events": sum(part.event_count for part in parts),
        }


class Figures(NamedTuple):
    """One round: acknowledged events a second, the server's processor time for one of them, and
    the latency of live usage of one customer in the last 30 days.
    """

    per_second: float
    processor_us: float
    usage_p50_ms: float
    usage_p99_ms: float


class Measuring:
    """Rounds on one running server."""

    def __init__(self, server: MeasuredServer, seed: int, events: int, reads: int) -> None:
        self._server = server
        self._corpus = Corpus(seed, ordered=True)
        self._draw = Random(seed)
        self._events = events
        self._reads = reads

    def round(self) -> Figures:
        """Measure once."""
        now = datetime.now(UTC) - timedelta(minutes=1)
        batches = self._corpus.batches(self._events // BATCH, BATCH, now, LIVE_STEP)
        target = self._server.target
        posts = [target.request("POST", "/v1/events", body) for body in batches]
        before = self._server.processor_seconds()
        load = drive(target, posts, CONNECTIONS)
        spent = self._server.processor_seconds() - before
        start = f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%dT00:00:00Z}"
        reads = [
            target.request(
                "GET",
                f"/v1/customers/cust_{self._draw.randrange(CUSTOMERS):05d}/usage?from={start}",
            )
            for _ in range(self._reads)
        ]
        read = drive(target, reads, 1)
        return Figures(
            load.per_second,
            1e6 * spent / load.accepted,
            read.percentile_ms(0.5),
            read.percentile_ms(0.99),
        )


def measure(
    small: Path, large: Path, seed: int, events: int, reads: int, rounds: int
) -> dict[str, float]:
    """Measure both in turns, so that a busy minute of the machine falls on both; medians."""
    found: dict[str, list[Figures]] = {"small": [], "large": []}
    with measured_server(small) as one, measured_server(large) as other:
        measuring = {
            "small": Measuring(one, seed, events, reads),
            "large": Measuring(other, seed + 1, events, reads),
        }
        for _ in range(rounds):
            for name, each in measuring.items():
                found[name].append(each.round())
    middle = {
        f"{name}_{field}": median(getattr(figures, field) for figures in rounds_of)
        for name, rounds_of in found.items()
        for field in Figures._fields
    }
    ratios = {
        "ingest_cost_ratio": middle["small_per_second"] / middle["large_per_second"],
        "ingest_processor_ratio": middle["large_processor_us"] / middle["small_processor_us"],
        "usage_p50_ratio": middle["large_usage_p50_ms"] / middle["small_usage_p50_ms"],
        "usage_p99_ratio": middle["large_usage_p99_ms"] / middle["small_usage_p99_ms"],
    }
    return {**middle, **ratios}


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:7.0f} s"


def main() -> None:
    """Make what is not there, measure, and print one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.history", description=__doc__)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--events", type=int, default=1_000_000, help="a day")
    parser.add_argument("--folder", type=Path, required=True, help="kept, and used again")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--rounds", type=int, default=3, help="0 measures nothing")
    parser.add_argument("--round-events", type=int, default=200_000)
    parser.add_argument("--reads", type=int, default=1_000)
    parser.add_argument("--check", type=int, default=3, help="days that the product verifies")
    asked = parser.parse_args()
    out = Console(stderr=True)
    large = History(asked.folder / "large", asked.days, asked.events, out)
    small = History(asked.folder / "small", asked.days, SMALL_EVENTS // asked.days, out)
    for each in (small, large):
        each.make(asked.seed, asked.workers)
    answer: dict[str, object] = {"small": small.size(), "large": large.size()}
    answer["failures"] = large.check(asked.check)
    if asked.rounds:
        answer["figures"] = measure(
            small.folder, large.folder, asked.seed, asked.round_events, asked.reads, asked.rounds
        )
    Console().print_json(json.dumps(answer))


if __name__ == "__main__":
    main()
