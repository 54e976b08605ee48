"""Events have a place whatever their day, and days come and go without anybody's help."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from tallystick.domain.events import EventStatus
from tallystick.domain.instants import DAY_US
from tallystick.storage.postgres.locks import PARTITIONS
from tallystick.storage.postgres.partitions import (
    DAYS_AHEAD,
    EMPTY_DAYS_KEPT,
    make_partitions,
    partition_of,
)
from tests.fixtures.blocking import wait_until_blocked
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.postgres.stores import NOW, Store, event, opened

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    """A server on a new database."""
    with opened(postgres_url) as made:
        yield made


def days_of(store: Store) -> dict[str, str]:
    """Return which partition each event is in."""
    with store.database.read() as connection:
        return dict(
            connection.execute("SELECT id, tableoid::regclass::text FROM usage_events").fetchall()
        )


def append_at(store: Store, received_at: int, **at: int) -> None:
    """Append events by id and time."""
    events = [event(event_id, at=instant) for event_id, instant in at.items()]
    store.events.append(events, received_at).result()


def wait_for_partition(store: Store, now: int, day_at: int, *, there: bool = True) -> None:
    """Look after the partitions until a day's is there, or gone; another look may be under way."""
    name = partition_of(day_at)
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        make_partitions(store.database, now).result()
        with store.database.read() as connection:
            row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
        if row == (there,):
            return
    raise AssertionError(f"partition {name}")


def test_events_of_any_day_have_a_place(store: Store) -> None:
    far_at = NOW + 20 * DAY_US
    wait_for_partition(store, NOW, NOW + DAYS_AHEAD * DAY_US)
    append_at(store, NOW, old=5, now=NOW, far=far_at)
    wait_for_partition(store, far_at, far_at + DAY_US)
    append_at(store, far_at, further=far_at, next=far_at + DAY_US)
    assert days_of(store) == {
        "old": "usage_events_past",
        "now": partition_of(NOW),
        "far": "usage_events_elsewhen",
        "further": "usage_events_elsewhen",
        "next": partition_of(far_at + DAY_US),
    }
    read = [found.event.id for found in store.events.scan(0, 10)]
    assert read == ["old", "now", "far", "further", "next"]
    assert store.findings() == []


def test_events_that_came_before_any_partition_keep_no_day_from_its_own(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as stranger:
        stranger.execute("SELECT pg_advisory_xact_lock(%s)", (PARTITIONS,))
        with opened(postgres_url) as store:  # it leaves partitions to whoever has the lock
            append_at(store, NOW, old=5)
            stranger.rollback()
            wait_for_partition(store, NOW, NOW)
            append_at(store, NOW, older=4, now=NOW)
            assert days_of(store) == {
                "old": "usage_events_elsewhen",
                "older": "usage_events_elsewhen",
                "now": partition_of(NOW),
            }
            assert store.findings() == []


def test_a_long_reader_puts_a_partition_off_and_no_event(store: Store) -> None:
    append_at(store, NOW, first=NOW)
    later = NOW + 20 * DAY_US
    with psycopg.connect(store.database.url) as stranger:
        stranger.execute("SELECT COUNT(*) FROM usage_events")
        make_partitions(store.database, later).result()
        append_at(store, NOW, far=later)
        assert days_of(store)["far"] == "usage_events_elsewhen"
    wait_for_partition(store, later, later + DAY_US)
    assert store.findings() == []


def test_a_clock_that_is_behind_does_no_harm(store: Store) -> None:
    wait_for_partition(store, NOW, NOW)
    make_partitions(store.database, NOW - 2 * DAY_US).result()
    append_at(store, NOW - 2 * DAY_US, a=NOW - 2 * DAY_US)
    assert days_of(store) == {"a": "usage_events_past"}


def test_a_reader_that_began_before_sees_what_it_saw(store: Store) -> None:
    """A partition that appears meanwhile takes nothing out of an older snapshot."""
    later = NOW + 20 * DAY_US
    append_at(store, NOW, far=later)
    with store.database.read() as connection:
        connection.execute("SELECT COUNT(*) FROM event_identities")  # the snapshot is of now
        wait_for_partition(store, later, later + DAY_US)
        append_at(store, later, a=later, b=later + DAY_US)
        rows = connection.execute("SELECT id FROM usage_events WHERE occurred_at = %s", (later,))
        assert rows.fetchall() == [("far",)]


def test_an_event_whose_day_gets_its_partition_at_this_moment_comes_into_it(store: Store) -> None:
    later = NOW + 20 * DAY_US
    day_at = later - later % DAY_US
    day = partition_of(day_at)
    with psycopg.connect(store.database.url) as other:  # another server, which makes the partition
        other.execute(f"CREATE TABLE {day} (LIKE usage_events INCLUDING ALL)")
        other.execute(
            f"ALTER TABLE usage_events ATTACH PARTITION {day} "
            f"FOR VALUES FROM ({day_at}) TO ({day_at + DAY_US})"
        )
        appending = store.events.append([event("e", at=later)], NOW)
        wait_until_blocked(store.database.url)  # it is on its way to the partition of other days
        other.commit()
        assert appending.result(PATIENCE_SECONDS) == [EventStatus.ACCEPTED]
    assert days_of(store) == {"e": day}
    assert store.findings() == []


def test_the_partition_of_an_empty_day_goes_and_late_events_still_come(store: Store) -> None:
    wait_for_partition(store, NOW, NOW + DAY_US)
    append_at(store, NOW, first=NOW)
    later = NOW + (EMPTY_DAYS_KEPT + 3) * DAY_US
    wait_for_partition(store, later, NOW + DAY_US, there=False)
    append_at(store, later, late=NOW + DAY_US)
    assert days_of(store) == {"first": partition_of(NOW), "late": "usage_events_elsewhen"}
    assert store.findings() == []
