"""A hundred million events, archived by the day: does what is live stay as fast as with a million?

    python -m tests.bench.history --days 100 --events 1000000 --folder DIR

Makes a database whose days are all archived, lets the product roll them up, then measures ingest
and live usage on it, and on one with a million events over the same days, in turns. Run again on
the folder, it only measures.

What is made how: half a day is made event by event; every other half day is the same one later,
with ids of its own, so that each event has its own place, time, id and identity. The files are
written by the product's archive, which reads each back. Rollups of hours, spans, identities and
the ledger's rows are what ingest and `archive run` would have written, but are inserted in bulk,
without the events passing through the log; `--check` lets the product verify some days. The days'
rollups are made by the job of the product's worker. What is measured afterwards is the product
alone.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sqlite3
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow
import pyarrow.compute
import pyarrow.ipc
from rich.console import Console

from tallystick.config import Settings
from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US, from_datetime
from tallystick.domain.meters import Selection
from tallystick.ports.event_store import StoredEvent
from tallystick.storage.archive.parquet import ParquetArchive, table_of
from tallystick.storage.sqlite.identities import identity_key
from tallystick.storage.sqlite.identity_filter import IdentityFilter
from tallystick.wiring import Tallystick
from tests.bench.corpus import CUSTOMERS, SKEW, Corpus
from tests.bench.load import drive
from tests.bench.server import MeasuredServer, measured_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.ports.archive import ArchivedPart

SMALL_EVENTS = 1_000_000
HALF_US = DAY_US // 2
BATCH = 100
CONNECTIONS = 50
LIVE_STEP = timedelta(microseconds=20)
_PLACE_BYTES = 8
_KEY_BYTES = 22  # of a UUIDv7: its time and its digest
_ENTRY_BYTES = _KEY_BYTES + _PLACE_BYTES


class HalfDay(NamedTuple):
    """Half a day of events, as a table in the archive's order, and its hours' rollups: hour,
    customer, count, sum, and the newest event's place.
    """

    table: Any
    cells: list[tuple[int, str, int, int, int]]


class HalfDayMade(NamedTuple):
    """What the database is to know of half a day that was written."""

    part: ArchivedPart
    identities: bytes


def first_half_day(count: int, seed: int) -> HalfDay:
    """Return events from the beginning of 1970 on, with places from 0 on, in the order of time."""
    draw = Random(seed)
    random, bits = draw.random, draw.getrandbits
    cells: dict[tuple[int, str], list[int]] = {}
    events = []
    for seq in range(count):
        at = seq * HALF_US // count
        noise = bits(120)
        customer = f"cust_{int(CUSTOMERS * random() ** SKEW):05d}"
        value = 200 + (noise >> 62) % 59_800
        properties = (
            f'{{"method":"{"GET" if noise >> 80 & 3 else "POST"}","path":"/v1/items/'
            f'{(noise >> 84) % 1_000_000}","status":{200 if noise >> 110 & 7 else 404},'
            f'"region":"eu-west-{(noise >> 113) % 3 + 1}","user_agent":"client/{noise >> 116}.4"}}'
        ).encode()
        cell = cells.setdefault((at - at % HOUR_US, customer), [0, 0, 0])
        cell[0] += 1
        cell[1] += value
        cell[2] = seq
        event = UsageEvent(
            "default", str(seq), "http_request", customer, at, Decimal(value), properties
        )
        events.append(StoredEvent(seq, at + (noise >> 90) % 2_000_000, event))
    rows = [
        (hour, who, number, total, last)
        for (hour, who), (number, total, last) in sorted(cells.items())
    ]
    return HalfDay(table_of(events), rows)


def make_half_day(folder: Path, template: Path, number: int, at: int) -> HalfDayMade:
    """Write the first half day to the archive as that of another time."""
    with pyarrow.ipc.open_file(template) as file:
        table = file.read_all()
    count = table.num_rows
    table = _later(table, at, number * count + 1)
    part = ParquetArchive(folder).write_table(at - at % DAY_US, 1 + at % DAY_US // HALF_US, table)
    ids, seqs = table["id"].to_pylist(), table["seq"].to_pylist()
    identities = [
        identity_key("default", id_) + seq.to_bytes(_PLACE_BYTES, "big")
        for id_, seq in zip(ids, seqs, strict=True)
    ]
    return HalfDayMade(part, b"".join(sorted(identities)))


def _later(table: Any, by: int, first_seq: int) -> Any:
    """Return events so many microseconds later, with places from ``first_seq`` on and new ids."""
    integers, instants = pyarrow.int64(), table.schema.field("occurred_at").type
    moved = {"seq": pyarrow.compute.add(table["seq"], first_seq)}
    for name in ("occurred_at", "received_at"):
        moved[name] = pyarrow.compute.add(table[name].cast(integers), by).cast(instants)
    moved["id"] = _ids(moved["occurred_at"].cast(integers))
    for name, column in moved.items():
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, column)
    return table.combine_chunks()


def _ids(occurred_at: Any) -> Any:
    """Return a UUIDv7 for each instant."""
    compute = pyarrow.compute
    milliseconds = compute.divide(occurred_at.combine_chunks(), 1_000)
    high = compute.shift_right(milliseconds, 16)
    lowest, highest = compute.min_max(high).as_py().values()
    spans = pyarrow.array([f"{value:08x}" for value in range(lowest, highest + 1)])
    low = compute.bit_wise_and(milliseconds, 0xFFFF)
    four = pyarrow.array([f"{value:04x}" for value in range(1 << 16)])

    def random(mask: int, or_bits: int) -> Any:
        noise = pyarrow.Array.from_buffers(
            pyarrow.uint16(), len(low), [None, pyarrow.py_buffer(os.urandom(2 * len(low)))]
        )
        masked = compute.bit_wise_or(compute.bit_wise_and(noise, mask), or_bits)
        return four.take(masked)

    last = [random(0xFFFF, 0) for _ in range(3)]
    return compute.binary_join_element_wise(
        spans.take(compute.subtract(high, lowest)),
        four.take(low),
        random(0x0FFF, 0x7000),
        random(0x3FFF, 0x8000),
        compute.binary_join_element_wise(*last, ""),
        "-",
    )


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
        started = time.perf_counter()
        with sqlite3.connect(unfinished, isolation_level=None) as connection:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
            self._fill(connection, seed, workers)
            self._out.print(f"{_since(started)} {self._days} days made")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        unfinished.rename(self.database)

    def _fill(self, connection: sqlite3.Connection, seed: int, workers: int) -> None:
        today = from_datetime(datetime.now(UTC)) // DAY_US * DAY_US
        selection = Selection("http_request").definition
        (selection_id,) = connection.execute(
            "SELECT id FROM selections WHERE definition = ?", (selection,)
        ).fetchone()
        half = first_half_day(self._events // 2, seed)
        template = self.folder / "half_day.arrow"
        with pyarrow.ipc.new_file(template, half.table.schema) as file:
            file.write_table(half.table)
        starts = [today + (number - 2 * self._days) * HALF_US for number in range(2 * self._days)]
        archive = self.database.with_name(self.database.name + "-archive")
        known = IdentityFilter()
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            made = pool.map(
                make_half_day, repeat(archive), repeat(template), range(2 * self._days), starts
            )
            for number, (at, each) in enumerate(zip(starts, made, strict=True)):
                first_seq = number * half.table.num_rows + 1
                rows = (
                    (hour + at, selection_id, who, count, total, last + first_seq)
                    for hour, who, count, total, last in half.cells
                )
                self._keep(connection, each, rows, known)
        known.write(connection)
        self._close(connection)
        template.unlink()
        span = (selection_id, starts[0], today - DAY_US)
        connection.executemany(
            "INSERT INTO usage_spans VALUES (?, ?, ?, ?)",
            [(who, *span) for who in sorted({who for _, who, *_ in half.cells})],
        )

    def _keep(
        self,
        connection: sqlite3.Connection,
        made: HalfDayMade,
        cells: Iterator[tuple[int, int, str, int, int, int]],
        known: IdentityFilter,
    ) -> None:
        part, packed = made.part, made.identities
        entries = [
            (packed[at : at + _KEY_BYTES], packed[at + _KEY_BYTES : at + _ENTRY_BYTES])
            for at in range(0, len(packed), _ENTRY_BYTES)
        ]
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO usage_rollups VALUES (NULL, ?, ?, ?, '', ?, ?, 0, NULL, ?, 1 << 62)",
            cells,
        )
        connection.executemany(
            "INSERT INTO event_identities VALUES (?, ?)",
            ((key, int.from_bytes(place, "big")) for key, place in entries),
        )
        connection.execute(
            "INSERT INTO archive_parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*part, part.event_count, part.day_at + DAY_US),
        )
        connection.execute("COMMIT")
        known.add([key for key, _ in entries])

    def _close(self, connection: sqlite3.Connection) -> None:
        """Say how far everything is done."""
        last_seq = self._days * self._events
        # the newest event stays in the log, as it always does: its place is where numbers go on
        connection.execute(
            "INSERT INTO usage_events VALUES (?, 0, 'default', 'newest', 'http_request', 'newest',"
            " 0, 0, '1', x'')",
            (last_seq + 1,),
        )
        connection.execute(
            "UPDATE identity_merges SET merged_seq = ?, filtered_seq = ?", (last_seq, last_seq)
        )
        connection.execute("UPDATE installation SET noticed_seq = ?", (last_seq + 1,))

    def roll_up(self) -> dict[str, float]:
        """Let the product roll up its days; return how many rollups that wrote, and what they cost
        of processor time.
        """
        spent = time.process_time()
        with self._opened() as product:
            rollups = product.day_roller.keep_up()
        seconds = time.process_time() - spent
        return {"rollups": rollups, "processor_seconds": round(seconds, 1)}

    def _opened(self) -> Tallystick:
        return Tallystick(Settings(database_url=f"sqlite:///{self.database}"))

    def check(self, days: int) -> int:
        """Let the product verify some of the archived days; return how many are not as they must
        be.
        """
        with self._opened() as product:
            archiver = product.archiver
            known = archiver.archived_days(0, 1 << 60)
            checked = [archiver.check(day_at) for day_at in known[:: max(1, len(known) // days)]]
        return sum(each.failures for each in checked)

    def size(self) -> dict[str, int]:
        """Return bytes of the database and of the archive, and the events in it."""
        with self._opened() as product:
            parts = [each.part for each in product.archive_ledger.parts()]
        return {
            "database_bytes": self.database.stat().st_size,
            "archive_bytes": sum(part.size_bytes for part in parts),
            "archived_events": sum(part.event_count for part in parts),
        }


class Figures(NamedTuple):
    """One round: acknowledged events a second, the server's processor time for one of them; and
    for live usage of one customer in the last 30 days its processor time, and the latency.
    """

    per_second: float
    processor_us: float
    usage_processor_ms: float
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
        before = self._server.processor_seconds()
        read = drive(target, reads, 1)
        reading = self._server.processor_seconds() - before
        return Figures(
            load.per_second,
            1e6 * spent / load.accepted,
            1e3 * reading / len(reads),
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
        "usage_processor_ratio": middle["large_usage_processor_ms"]
        / middle["small_usage_processor_ms"],
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
    parser.add_argument("--check", type=int, default=3, help="days to verify; 0: none")
    asked = parser.parse_args()
    out = Console(stderr=True)
    large = History(asked.folder / "large", asked.days, asked.events, out)
    small = History(asked.folder / "small", asked.days, SMALL_EVENTS // asked.days, out)
    for each in (small, large):
        each.make(asked.seed, asked.workers)
    answer: dict[str, object] = {"rolled_up": {"small": small.roll_up(), "large": large.roll_up()}}
    answer |= {"small": small.size(), "large": large.size()}
    if asked.check:
        answer["failures"] = large.check(asked.check)
    if asked.rounds:
        answer["figures"] = measure(
            small.folder, large.folder, asked.seed, asked.round_events, asked.reads, asked.rounds
        )
    Console().print_json(json.dumps(answer))


if __name__ == "__main__":
    main()
