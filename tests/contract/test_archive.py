"""What every backend promises of events that left it for the archive: they are as much there."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.ports.errors import ArchiveDamaged, ArchiveTaken
from tallystick.wiring import Tallystick
from tests.contract.archiving import (
    DROPPED_EARLY,
    EndedEarly,
    archive_everything,
    archiver_of,
)
from tests.contract.backends import NOW, Backend, put_in_force

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.ports.event_store import StoredEvent

SUM = Meter("weight", "", "seen", Aggregation.SUM, decimals=12)
LARGEST = Meter("largest", "", "seen", Aggregation.MAX, decimals=12)
LAST = Meter("last", "", "seen", Aggregation.LAST_EVER, decimals=12)
DAY = NOW - NOW % DAY_US - 5 * DAY_US
EVER = Period(DAY - 100 * DAY_US, DAY + 100 * DAY_US)
ACCEPTED, DUPLICATE, CONFLICT = EventStatus.ACCEPTED, EventStatus.DUPLICATE, EventStatus.CONFLICT


def event(
    event_id: str,
    value: str = "1",
    at: int = DAY,
    *,
    customer: str = "acme",
    properties: bytes = b"",
) -> UsageEvent:
    return UsageEvent("s", event_id, "seen", customer, at, Decimal(value), properties)


def two_days() -> list[UsageEvent]:
    """Events of two days, three hours each and two customers, with values of every kind."""
    kinds = ["0.000000000001", "999999999999999", "-3", "0", "12.5"]
    events = []
    for number in range(120):
        at = DAY + (number % 2) * DAY_US + (number % 3) * HOUR_US + number * 7 * 1_000_001
        customer = ("acme", "zürich/\x85")[number % 5 == 0]
        properties = b'{ "n": %d,  "x":1.50 }' % number if number % 4 else b""
        value = kinds[number % len(kinds)]
        events.append(event(f"e{number}", value, at, customer=customer, properties=properties))
    return events


@pytest.fixture
def filled(backend: Backend) -> Tallystick:
    """Two days of events, some of them history, and one of today."""
    put_in_force(backend.product, (SUM,))
    store = backend.product.events
    events = two_days()
    store.append(events[:90], NOW).result()
    store.append(events[90:], NOW + 1, is_history=True).result()
    store.append([event("today", at=NOW)], NOW).result()
    return backend.product


def all_of(product: Tallystick) -> list[StoredEvent]:
    with product.snapshots.snapshot() as snapshot:
        return sorted(snapshot.events())


def findings(product: Tallystick) -> list[str]:
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
    return [finding for check in checks for finding in check.findings]


def measured(product: Tallystick, meter: Meter, period: Period) -> Decimal:
    return quantity_of(product.usage.usage(meter, "acme", period), meter.aggregation)


def live_events(product: Tallystick) -> int:
    """Return how many events are in the database itself."""
    dropped = sum(each.dropped_count for each in product.archive_ledger.parts())
    return product.events.count() - dropped


def test_archived_events_are_as_much_there_as_before(filled: Tallystick) -> None:
    before = all_of(filled)
    done = archive_everything(filled)
    assert [(each.event_count, each.findings) for each in done] == [(60, ()), (60, ())]
    assert live_events(filled) == 1
    assert before == all_of(filled)
    assert [stored.event for stored in before] == [
        stored.event for stored in filled.events.scan(0, 1_000)
    ]
    assert filled.events.count() == 121
    assert findings(filled) == []


def test_an_old_id_is_still_a_duplicate_or_a_conflict(backend: Backend, filled: Tallystick) -> None:
    archive_everything(filled)
    again = two_days()
    backend.crash()
    store = backend.product.events
    assert store.append(again, NOW).result() == [DUPLICATE] * 120
    others = [
        event("e1", "2", again[1].occurred_at),  # another value
        event("e2", "-3", again[2].occurred_at + 1, properties=again[2].properties),
        event("e2", "-3", again[2].occurred_at + 9 * DAY_US, properties=again[2].properties),
        event("e2", "-3", again[2].occurred_at, customer="bolt", properties=again[2].properties),
        event("e2", "-3", again[2].occurred_at, properties=b'{"n":3,"x":1.5}'),
        event("e2", "-3", again[2].occurred_at, properties=b'{"x":1.50,"n":2}'),
        event("new", at=DAY),
        event("new", at=DAY),
    ]
    expected = [CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, DUPLICATE, ACCEPTED, DUPLICATE]
    assert expected == store.append(others, NOW).result()
    assert findings(backend.product) == []


def test_usage_inside_an_archived_hour_is_folded_from_the_archive(filled: Tallystick) -> None:
    periods = [
        Period(DAY + 3 * MINUTE_US, DAY + 2 * HOUR_US + MINUTE_US),
        Period(DAY + 100, DAY + 5 * MINUTE_US),
        Period(DAY + DAY_US + HOUR_US + 7, DAY + DAY_US + 2 * HOUR_US + 9 * MINUTE_US),
    ]
    before = [filled.usage.usage_and_history(SUM, "acme", period) for period in periods]
    counted = [filled.counted_events.counted(SUM, "acme", period) for period in periods]
    archive_everything(filled)
    assert before == [filled.usage.usage_and_history(SUM, "acme", period) for period in periods]
    assert counted == [filled.counted_events.counted(SUM, "acme", period) for period in periods]
    assert [each.usage.event_count for each in before] == [len(each) for each in counted]
    assert any(counted)


def test_an_archived_event_can_be_corrected(filled: Tallystick) -> None:
    value = measured(filled, SUM, EVER)
    archive_everything(filled)
    corrections = [
        Correction("s", "e1", None, "ann", "a test"),
        Correction("s", "e4", Decimal("0.5"), "ann", "a test"),
        Correction("s", "e7", Decimal("-3"), "ann", "no change"),
        Correction("s", "nobody", None, "ann", "a test"),
    ]
    assert filled.events.correct(corrections, NOW).result() == [
        CorrectionStatus.CORRECTED,
        CorrectionStatus.CORRECTED,
        CorrectionStatus.UNCHANGED,
        CorrectionStatus.NOT_FOUND,
    ]
    assert value - 999999999999999 - 12 == measured(filled, SUM, EVER)
    found = filled.events.find("s", "e4")
    assert found is not None
    assert (Decimal("12.5"), Decimal("0.5")) == (found.event.value, found.counts_for)
    assert findings(filled) == []
    archiver = archiver_of(filled)
    assert not any(archiver.check(day_at).failures for day_at in archiver.archived_days(0, NOW))


def test_a_meter_declared_later_counts_archived_events(filled: Tallystick) -> None:
    archive_everything(filled)
    put_in_force(filled, (SUM, LARGEST, LAST))
    assert Decimal(999999999999999) == measured(filled, LARGEST, EVER)
    latest = max(
        (each for each in two_days() if each.customer == "acme"), key=lambda each: each.occurred_at
    )
    assert latest.value == measured(filled, LAST, Period(DAY, DAY + 4 * DAY_US))
    assert findings(filled) == []


def test_a_late_event_for_an_archived_day_makes_another_part(filled: Tallystick) -> None:
    archive_everything(filled)
    late = event("late", "7", DAY + 2 * MINUTE_US)
    total = measured(filled, SUM, EVER)
    period = Period(DAY + MINUTE_US, DAY + 3 * MINUTE_US)
    assert filled.events.append([late, event("now", at=NOW)], NOW).result() == [ACCEPTED] * 2
    assert total + 8 == measured(filled, SUM, EVER)
    inside = measured(filled, SUM, period)
    (done,) = [each for each in archive_everything(filled) if each.day_at == DAY]
    assert done.event_count == 1
    numbers = [each.part.number for each in filled.archive_ledger.parts(DAY, DAY + DAY_US)]
    assert numbers == [1, 2]
    assert inside == measured(filled, SUM, period)
    assert filled.events.append([late], NOW).result() == [DUPLICATE]
    assert findings(filled) == []


def test_restored_days_are_equal_and_can_leave_again(filled: Tallystick, backend: Backend) -> None:
    before = rows_of(backend)
    archive_everything(filled, held={"acme"})
    archive_everything(filled)
    assert before != rows_of(backend)
    archiver = archiver_of(filled)
    days = archiver.archived_days(0, NOW)
    assert [archiver.restore(day_at).event_count for day_at in days] == [60, 60]
    assert before == rows_of(backend)
    assert filled.archive_ledger.parts() == []
    assert findings(filled) == []
    assert [each.event_count for each in archive_everything(filled)] == [60, 60]
    assert findings(filled) == []


def rows_of(backend: Backend) -> str:
    """Return the raw rows of the log, as text."""
    return json.dumps(backend.log_rows(), default=str)


def test_a_run_that_was_ended_early_is_finished_by_the_next(
    filled: Tallystick, backend: Backend
) -> None:
    before = all_of(filled)
    with pytest.raises(InterruptedError):
        archiver_of(filled, kind=EndedEarly).archive(DAY)
    assert live_events(filled) == 121 - DROPPED_EARLY
    assert before == all_of(filled)
    assert findings(filled) == []
    archiver = archiver_of(filled)
    assert not archiver.check(DAY).failures
    backend.crash()
    assert before == all_of(backend.product)
    archive_everything(backend.product)
    assert live_events(backend.product) == 1
    assert before == all_of(backend.product)
    assert findings(backend.product) == []


def test_a_day_that_is_not_what_its_rollups_say_stays(filled: Tallystick, backend: Backend) -> None:
    backend.spoil_rollup("acme", DAY)
    archiver = archiver_of(filled)
    done = archiver.archive(DAY)
    assert done.failures == 1
    assert "customer acme: rollup count" in done.findings[0]
    assert filled.archive_ledger.parts() == []
    assert live_events(filled) == 121


def test_a_damaged_or_missing_file_is_named_and_nothing_is_answered_from_it(
    filled: Tallystick, backend: Backend
) -> None:
    archive_everything(filled)
    first, second = (each.part for each in filled.archive_ledger.parts())
    damage(file_of(filled, first.file))
    file_of(filled, second.file).unlink()
    archiver = archiver_of(filled)
    checked = [archiver.check(day_at) for day_at in archiver.archived_days(0, NOW)]
    assert [each.failures for each in checked] == [1, 1]
    assert first.file in checked[0].findings[0]
    assert "was altered" in checked[0].findings[0]
    assert second.file in checked[1].findings[0]
    assert [each.findings for each in checked] == [
        archiver.restore(each.day_at).findings for each in checked
    ]
    assert len(filled.archive_ledger.parts()) == 2
    backend.reopen()
    for number, part in enumerate((first, second)):
        with pytest.raises(ArchiveDamaged, match=part.file):
            backend.product.events.append(two_days()[number : number + 1], NOW).result()
    period = Period(DAY + 1, DAY + MINUTE_US)
    with pytest.raises(ArchiveDamaged, match=first.file):
        backend.product.usage.usage(SUM, "acme", period)
    assert backend.product.events.append([event("new")], NOW).result() == [ACCEPTED]


def test_a_rollup_that_differs_from_an_archived_day_is_named(
    filled: Tallystick, backend: Backend
) -> None:
    archive_everything(filled)
    backend.spoil_rollup("acme", DAY)
    checked = archiver_of(filled).check(DAY)
    assert checked.failures == 1
    assert "type seen, customer acme: rollup count" in checked.findings[0]


def test_of_two_runs_at_once_one_keeps_its_part(filled: Tallystick) -> None:
    with filled.archive_ledger.day(DAY, only_noticed=False) as day:
        events = list(day.events(day.customers()))
    first, second = (filled.archive().write(DAY, 1, events) for _ in range(2))
    assert first == second
    filled.archive_ledger.keep([first], NOW)
    with pytest.raises(ArchiveTaken):
        filled.archive_ledger.keep([second], NOW)


def test_another_process_knows_what_left_before_it_saw_it(backend: Backend) -> None:
    product = backend.product
    put_in_force(product, (SUM,))
    with Tallystick(product.settings, product.clock) as other:
        assert other.events.append([event("first")], NOW).result() == [ACCEPTED]
        product.events.append(two_days(), NOW).result()
        product.events.append([event("newest", at=NOW)], NOW).result()
        archive_everything(product)
        assert other.events.append(two_days(), NOW).result() == [DUPLICATE] * 120
        assert other.events.append([event("second", at=NOW)], NOW).result() == [ACCEPTED]
    assert product.events.append([event("second", at=NOW)], NOW).result() == [DUPLICATE]
    assert findings(product) == []


def test_what_was_not_looked_at_yet_stays(filled: Tallystick) -> None:
    with filled.archive_ledger.day(DAY) as day:
        assert day.customers() == []
    assert filled.book.notice(1_000) == 121
    with filled.archive_ledger.day(DAY) as day:
        assert day.customers() == ["acme", "zürich/\x85"]


def file_of(product: Tallystick, name: str) -> Path:
    return product.settings.archive_path() / name


def damage(path: Path) -> None:
    """Turn one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
