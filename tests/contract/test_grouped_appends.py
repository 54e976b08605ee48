"""What requests bring at once goes into SQLite's log as one append, as if each had come alone."""

from __future__ import annotations

import threading
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.events import EventStatus, UsageEvent, same_content
from tallystick.domain.instants import HOUR_US
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.ports.errors import StoreUnusable, UsageOverflow
from tallystick.storage.sqlite import database as database_module
from tallystick.storage.sqlite.database import SqliteDatabase
from tallystick.storage.sqlite.events import SqliteEventStore
from tallystick.storage.sqlite.statements import statements, write_rows
from tests.contract.backends import BACKENDS, NOW, put_in_force
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from tallystick.wiring import Tallystick

METERS = (
    Meter("weight", "", "seen", Aggregation.SUM, decimals=12),
    Meter("newest", "", "seen", Aggregation.LAST, decimals=12),
)
ACCEPTED, DUPLICATE, CONFLICT = EventStatus.ACCEPTED, EventStatus.DUPLICATE, EventStatus.CONFLICT
TIME_ORDERED = "0192f3a4-b5c6-7d00-8000-{:04x}{:08x}"
FILLING = 9_223
"""As many of the largest values as an hour's sum has room for."""


class Writer(NamedTuple):
    """A store whose writer can be held, and a product that reads beside it."""

    database: SqliteDatabase
    events: SqliteEventStore
    product: Tallystick

    def at_once(self, pieces: Sequence[Callable[[], Future[Any]]]) -> list[object]:
        """Have the pieces wait for the writer and then be one group; return what became of each."""
        go_on = threading.Event()
        held = self.database.submit(lambda _: go_on.wait(PATIENCE_SECONDS))
        while not held.running():
            pass
        futures = [piece() for piece in pieces]
        go_on.set()
        return [future.exception(PATIENCE_SECONDS) or future.result() for future in futures]

    def append(
        self, events: Sequence[UsageEvent], *, is_history: bool = False
    ) -> Future[list[EventStatus]]:
        return self.events.append(events, NOW, is_history=is_history)

    def findings(self) -> list[str]:
        with self.product.snapshots.snapshot() as snapshot:
            checks = check_store(snapshot, self.product.catalog.meters())
        return [finding for check in checks for finding in check.findings]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """A writer on a new file."""
    folder: Path = tmp_path_factory.mktemp("grouped")
    backend = BACKENDS["sqlite"](folder)
    put_in_force(backend.product, METERS)
    (path,) = folder.rglob("*.db")
    database = SqliteDatabase(path, mock.Mock())
    yield Writer(database, SqliteEventStore(database), backend.product)
    database.close()
    backend.close()


def event(event_id: str, value: str = "1", customer: str = "acme", at: int = NOW) -> UsageEvent:
    return UsageEvent("s", event_id, "seen", customer, at, Decimal(value), b"")


draws = st.tuples(
    st.booleans(),
    st.one_of(st.integers(0, 9), st.integers(10, 10_000)),
    st.sampled_from(["1", "0.5"]),
    st.sampled_from("ab"),
)
is_history = st.integers(0, 9).map(lambda number: number < 2)
appends = st.lists(
    st.tuples(st.lists(draws, min_size=1, max_size=6), is_history), min_size=2, max_size=6
)
RUNS = iter(range(1_000_000))


@settings(suppress_health_check=list(HealthCheck))
@given(appends)
def test_each_request_gets_the_answer_it_would_get_alone(
    writer: Writer, drawn: list[tuple[list[tuple[bool, int, str, str]], bool]]
) -> None:
    run = next(RUNS)
    requests = [
        [
            event(
                (TIME_ORDERED if is_ordered else "{}-{}").format(run, number),
                value,
                f"{customer}{run}",
                NOW - number % 3 * HOUR_US,
            )
            for is_ordered, number, value, customer in events
        ]
        for events, _ in drawn
    ]
    # another process has stored some of their hours: what the writer remembers is read anew
    before = [event(f"before{run}{name}", customer=f"{name}{run}") for name in ("a", "b")]
    writer.product.events.append(before, NOW).result()
    known: dict[str, UsageEvent] = {}
    history = set()
    expected = []
    for request, (_, is_history) in zip(requests, drawn, strict=True):
        statuses = []
        for each in request:
            first = known.setdefault(each.id, each)
            if first is each:
                statuses.append(ACCEPTED)
                if is_history:
                    history.add(each.id)
            else:
                statuses.append(DUPLICATE if same_content(first, each) else CONFLICT)
        expected.append(statuses)
    got = writer.at_once(
        [
            partial(writer.append, request, is_history=is_history)
            for request, (_, is_history) in zip(requests, drawn, strict=True)
        ]
    )
    assert got == expected
    assert writer.database._careful_groups == 0, "they were not stored together"
    for name, first in known.items():
        stored = writer.events.find("s", name)
        assert stored is not None
        assert (stored.event, stored.is_history) == (first, name in history)
    for customer in ("a", "b"):
        weight = writer.product.usage.usage(
            METERS[0], f"{customer}{run}", Period(NOW - 9 * HOUR_US, NOW + 9 * HOUR_US)
        )
        assert quantity_of(weight, Aggregation.SUM) == 1 + sum(
            each.value for each in known.values() if each.customer == f"{customer}{run}"
        )


def test_the_log_is_sound_after_all_of_them(writer: Writer) -> None:
    assert writer.findings() == []


def test_who_fails_costs_nobody_else(writer: Writer) -> None:
    """One request would overflow an hour's sum, and another piece of work fails by itself."""
    writer.events.append([event(f"big{n}", "9" * 15) for n in range(FILLING)], NOW).result()

    def fail(_: sqlite3.Connection) -> None:
        raise LookupError("by itself")

    overflowing = [event("neighbour", customer="bob"), event("too much", "9" * 15)]
    with mock.patch.object(database_module, "CAREFUL_GROUPS", 1):
        for turn in range(3):  # together, with savepoints, and together again
            mine, other = event(f"mine{turn}"), event(f"other{turn}", customer="bob")
            got = writer.at_once(
                [
                    partial(writer.append, [mine]),
                    partial(writer.database.submit, fail),
                    partial(writer.append, overflowing),
                    partial(writer.append, [other, mine]),
                ]
            )
            assert [type(outcome) for outcome in got] == [list, LookupError, UsageOverflow, list]
            assert (got[0], got[3]) == ([ACCEPTED], [ACCEPTED, DUPLICATE])
    assert writer.database._careful_groups == 1
    writer.at_once([partial(writer.append, [event("a")]), partial(writer.append, [event("b")])])
    pieces: list[Callable[[], Future[Any]]] = [
        partial(writer.append, [event("c")]),
        partial(writer.database.submit, fail),
    ]
    assert [type(outcome) for outcome in writer.at_once(pieces)] == [list, LookupError]
    assert writer.database._careful_groups == 0, "work of its own kind does not undo the others"
    for name in ("neighbour", "too much"):
        assert writer.events.find("s", name) is None
    assert writer.findings() == []


def test_a_number_that_no_rollup_has_makes_none(writer: Writer) -> None:
    def keep(connection: sqlite3.Connection) -> None:
        write_rows(
            connection, statements("rollups")["keep_numbered"], [1 << 40, 1, 1, 0, 1, NOW], 6
        )

    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT COUNT(*) FROM usage_rollups").fetchone()[0])

    before = writer.database.write(count)
    with pytest.raises(StoreUnusable):
        writer.database.write(keep)
    assert writer.database.write(count) == before
