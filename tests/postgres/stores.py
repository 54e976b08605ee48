"""The usage path on PostgreSQL as one server has it, and clients that never give an event up."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.domain.instants import HOUR_US
from tallystick.domain.meters import Meter, MeterSet
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.ports.errors import StoreUnavailable
from tallystick.storage.postgres.database import WRITERS, PostgresDatabase
from tallystick.storage.postgres.events import PostgresEventStore
from tallystick.storage.postgres.partitions import make_partitions
from tallystick.storage.postgres.rollups import open_selections
from tallystick.storage.postgres.usage import PostgresUsageReader
from tallystick.storage.postgres.verification import PostgresSnapshotReader
from tests.fixtures.meters import OF_EACH_AGGREGATION
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.postgres import no_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000_000_000
WAIT_SECONDS = 5
"""How long an append waits for a connection where the server goes away: a pool that has given up
tries again for the next caller, and not for those that wait already.
"""
ALWAYS = Period(NOW - 100 * HOUR_US, NOW + 100 * HOUR_US)
SUM = OF_EACH_AGGREGATION[1]


@dataclass
class Store:
    """What one server has of a database."""

    database: PostgresDatabase
    events: PostgresEventStore
    usage: PostgresUsageReader
    snapshots: PostgresSnapshotReader

    def settle(self) -> None:
        """Wait until every writer is done with what waited: looking after partitions, for one."""
        together = threading.Barrier(WRITERS)
        waiting = [
            self.database.submit(lambda _: together.wait(PATIENCE_SECONDS)) for _ in range(WRITERS)
        ]
        for each in waiting:
            each.result()

    def total(self, customer: str = "acme") -> Decimal:
        """Return the sum of a customer's values."""
        return quantity_of(self.usage.usage(SUM, customer, ALWAYS), SUM.aggregation)

    def findings(self, meters: tuple[Meter, ...] = OF_EACH_AGGREGATION) -> list[str]:
        """Return what a check of the invariants finds."""
        with self.snapshots.snapshot() as snapshot:
            checks = check_store(snapshot, MeterSet(meters))
        return [finding for check in checks for finding in check.findings]


@contextmanager
def opened(url: str, meters: tuple[Meter, ...] = OF_EACH_AGGREGATION) -> Iterator[Store]:
    """Open a database as a server does, with the meters in force."""
    database = PostgresDatabase(url, no_archive)
    try:
        make_partitions(database, NOW).result()
        database.write(lambda connection: open_selections(connection, meters))
        yield Store(
            database,
            PostgresEventStore(database),
            PostgresUsageReader(database),
            PostgresSnapshotReader(database),
        )
    finally:
        database.close()


def event(
    event_id: str, value: str = "1", at: int = NOW, properties: bytes = b'{"user":"u"}'
) -> UsageEvent:
    """Return an event of the one type there is."""
    return UsageEvent("s", event_id, "seen", "acme", at, Decimal(value), properties)


class Clients:
    """Threads that append, each event again and again until it is acknowledged."""

    def __init__(self, store: Store, count: int = 3, batch: int = 5, name: str = "") -> None:
        self.acknowledged: list[str] = []
        self.refusals = 0
        self._store = store
        self._batch = batch
        self._name = name
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._append_for_ever, args=(number,))
            for number in range(count)
        ]
        self._failures: list[BaseException] = []

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        assert self._failures == []
        assert not any(thread.is_alive() for thread in self._threads)

    def wait_for(self, more: int) -> None:
        """Wait until so many more events are acknowledged."""
        target = len(self.acknowledged) + more
        for _ in range(PATIENCE_SECONDS * 100):
            assert self._failures == []
            if len(self.acknowledged) >= target:
                return
            self._stopping.wait(0.01)
        raise AssertionError(f"{len(self.acknowledged)} of {target} acknowledged")

    def wait_for_a_refusal(self) -> None:
        """Wait until an append is refused once more."""
        before = self.refusals
        for _ in range(PATIENCE_SECONDS * 100):
            assert self._failures == []
            if self.refusals > before:
                return
            self._stopping.wait(0.01)
        raise AssertionError("nothing is refused")

    def _append_for_ever(self, number: int) -> None:
        try:
            sent = 0
            while not self._stopping.is_set():
                ids = [f"{self._name}{number}-{sent + each}" for each in range(self._batch)]
                self._append([event(event_id) for event_id in ids])
                self.acknowledged += ids
                sent += self._batch
        except BaseException as error:  # for the test's thread
            self._failures.append(error)

    def _append(self, events: list[UsageEvent]) -> None:
        while True:
            try:
                statuses = self._store.events.append(events, NOW).result(PATIENCE_SECONDS)
            except StoreUnavailable:
                self.refusals += 1
                self._stopping.wait(0.05)
            else:
                assert set(statuses) <= {EventStatus.ACCEPTED, EventStatus.DUPLICATE}
                return


def assert_each_once(store: Store, clients: Clients) -> None:
    """Check that what was acknowledged is stored, that nothing is counted twice, and that usage is
    a recount.
    """
    stored = [found.event.id for found in store.events.scan(0, 1_000_000)]
    assert len(stored) == len(set(stored))
    assert set(clients.acknowledged) <= set(stored)
    assert Decimal(len(stored)) == store.total()
    assert store.findings() == []
