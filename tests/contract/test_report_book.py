"""What every book of reports promises, whichever backend it is."""

from __future__ import annotations

import threading
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.ports.outbox import Due, Reported
from tests.contract.backends import NOW, put_in_force
from tests.contract.planning import PERIOD, plan, planned
from tests.contract.racing import race

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

SEEN = Meter("seen", "", "seen", Aggregation.COUNT)
WEIGHT = Meter("weight", "", "seen", Aggregation.SUM)


@pytest.fixture(autouse=True)
def meters(store: Tallystick) -> None:
    """A meter that counts and one that adds, of the same events."""
    put_in_force(store, (SEEN, WEIGHT))


def append(store: Tallystick, *pairs: tuple[str, str]) -> None:
    """Store events, given by id and customer."""
    events = [UsageEvent("s", id_, "seen", who, NOW, Decimal(1)) for id_, who in pairs]
    store.events.append(events, NOW).result()


def notice_all(store: Tallystick) -> int:
    """Mark all that is stored; return how many events were looked at."""
    noticed = 0
    while found := store.book.notice(7):
        assert found <= 7
        noticed += found
    return noticed


def due(store: Tallystick) -> list[tuple[str, str]]:
    return [found[:2] for found in store.book.due(None, None, 1_000)]


def test_what_events_touch_becomes_due_once_each(store: Tallystick) -> None:
    append(store, *[(str(number), f"c{number % 3}") for number in range(20)])
    assert notice_all(store) == 20
    assert notice_all(store) == 0
    assert due(store) == [(f"c{n}", key) for n in range(3) for key in ("seen", "weight")]


def test_due_is_paged_in_order(store: Tallystick) -> None:
    append(store, *[(str(n), name) for n, name in enumerate(["b", "B", "a-1", "a", "é", "_"])])
    notice_all(store)
    found: list[Due] = []
    while page := store.book.due(found[-1] if found else None, None, 5):
        found += page
    assert [one[:2] for one in found] == sorted(due(store))
    assert len(found) == 12


def test_usage_noticed_meanwhile_stays_due(store: Tallystick) -> None:
    append(store, ("1", "acme"))
    notice_all(store)
    before = store.book.due(None, None, 9)
    append(store, ("2", "acme"))
    notice_all(store)
    for one in before:
        assert store.book.record(one, [], NOW, due_again_at=None)
    assert due(store) == [("acme", "seen"), ("acme", "weight")]
    for one in store.book.due(None, None, 9):
        assert store.book.record(one, [], NOW, due_again_at=None)
    assert due(store) == []


def test_what_waits_for_its_batch_sleeps_until_then(store: Tallystick) -> None:
    append(store, ("1", "acme"))
    notice_all(store)
    first, second = store.book.due(None, NOW, 9)
    store.book.record(first, [], NOW, due_again_at=NOW + 100)
    assert [one[:2] for one in store.book.due(None, NOW + 99, 9)] == [second[:2]]
    append(store, ("2", "acme"))
    notice_all(store)  # it belongs to the batch too
    assert [one[:2] for one in store.book.due(None, NOW + 99, 9)] == [second[:2]]
    assert len(store.book.due(None, NOW + 100, 9)) == 2
    assert len(store.book.due(None, None, 9)) == 2


def test_whatever_commits_late_is_noticed(store: Tallystick, other: Tallystick) -> None:
    """Events of racing writers may be numbered in another order than they are committed in."""
    is_over = threading.Event()
    noticed: list[int] = []

    def write(writer: Tallystick, name: str) -> None:
        for number in range(40):
            append(writer, (f"{name}{number}", f"{name}{number}"))

    def notice() -> None:
        while not is_over.is_set():
            noticed.append(store.book.notice(3))

    watcher = threading.Thread(target=notice)
    watcher.start()
    try:
        pairs = [(store, "a"), (other, "b"), (store, "c"), (other, "d")]
        race([partial(write, *pair) for pair in pairs])
    finally:
        is_over.set()
        watcher.join()
    noticed.append(notice_all(store))
    assert sum(noticed) == 160
    expected = {(f"{name}{n}", key) for name in "abcd" for n in range(40) for key in ("seen",)}
    assert expected <= set(due(store))


def test_racing_readers_notice_each_event_once(store: Tallystick, other: Tallystick) -> None:
    append(store, *[(str(number), f"c{number}") for number in range(60)])
    noticed = race([partial(notice_all, one) for one in (store, other, store, other)])
    assert sum(noticed) == 60
    assert len(due(store)) == 120


def test_reports_are_written_as_they_were_planned(store: Tallystick) -> None:
    reports = [planned(quantity="-0.000000000001"), planned(sequence=1, quantity="9" * 15)]
    one = Due("acme", "seen", 0)
    assert store.book.record(one, reports, NOW, due_again_at=None)
    stored = store.book.reports("acme")
    for report, kept in zip(reports, stored, strict=True):
        for name in report.__dataclass_fields__:
            assert getattr(report, name) == getattr(kept, name)
        assert (kept.attempts, kept.maybe_taken, kept.planned_at) == (0, False, NOW)
    assert store.book.reports() == stored
    assert store.book.reports("else") == []
    assert store.book.of_period("acme", "seen", PERIOD) == stored
    assert store.book.of_period("acme", "weight", PERIOD) == []


def test_a_sequence_that_is_taken_writes_nothing_and_stays_due(store: Tallystick) -> None:
    append(store, ("1", "acme"))
    notice_all(store)
    first, _ = store.book.due(None, None, 9)
    plan(store, planned())
    reports = [planned("acme", 0, meter_key="weight"), planned()]
    assert not store.book.record(first, reports, NOW, due_again_at=None)
    assert not store.book.record(first, [planned(sequence=2)], NOW, due_again_at=None)
    assert len(store.book.reports()) == 1
    assert due(store) == [("acme", "seen"), ("acme", "weight")]


def test_what_was_reported_leaves_out_what_was_replaced(store: Tallystick) -> None:
    later = Period(PERIOD.end_at, PERIOD.end_at + DAY_US)
    plan(
        store,
        planned(quantity="7.5"),
        planned(sequence=1, quantity="100", state=ReportState.REPLACED),
        planned(sequence=2, quantity="-0.25", state=ReportState.PARKED),
        planned(quantity="3", period=later),
    )
    assert store.book.reported("acme", "seen", PERIOD) == Reported(Decimal("7.25"), 3)
    assert store.book.reported("acme", "weight", PERIOD) == Reported(Decimal(0), 0)


def test_of_racing_plans_one_is_written(store: Tallystick, other: Tallystick) -> None:
    def write(planner: Tallystick, quantity: str) -> list[bool]:
        return [
            planner.book.record(
                Due("acme", "seen", 0),
                [planned(sequence=number, quantity=quantity)],
                NOW,
                due_again_at=None,
            )
            for number in range(15)
        ]

    answers = race([lambda: write(store, "1"), lambda: write(other, "2")])
    sequences = [report.sequence for report in store.book.of_period("acme", "seen", PERIOD)]
    assert sequences == list(range(len(sequences)))
    assert sum(answers[0]) + sum(answers[1]) == len(sequences) > 0
