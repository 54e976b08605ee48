"""What every event store promises, whichever backend it is."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.domain.instants import HOUR_US
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.ports.errors import UsageOverflow
from tallystick.storage.sqlite.identities import IdentityIndex
from tallystick.wiring import Tallystick
from tests.contract.backends import BACKENDS, NOW, Backend, put_in_force

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = Meter("seen", "", "seen", Aggregation.COUNT)
SUM = Meter("weight", "", "seen", Aggregation.SUM, decimals=12)
LARGEST = Meter("largest", "", "seen", Aggregation.MAX, decimals=12)
ALWAYS = Period(NOW - 100 * HOUR_US, NOW + 100 * HOUR_US)
ACCEPTED, DUPLICATE, CONFLICT = EventStatus.ACCEPTED, EventStatus.DUPLICATE, EventStatus.CONFLICT


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each backend in turn, with a meter that counts and one that adds."""
    made = BACKENDS[request.param](tmp_path)
    put_in_force(made.product, (COUNT, SUM))
    yield made
    made.close()


def event(event_id: str, value: str = "1", at: int = NOW, properties: bytes = b"") -> UsageEvent:
    return UsageEvent("s", event_id, "seen", "acme", at, Decimal(value), properties)


def measured(product: Tallystick, meter: Meter) -> Decimal:
    return quantity_of(product.usage.usage(meter, "acme", ALWAYS), meter.aggregation)


def findings(product: Tallystick) -> list[str]:
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
    return [finding for check in checks for finding in check.findings]


def test_a_store_that_is_warm_judges_as_before_and_reads_no_log_again(backend: Backend) -> None:
    backend.product.events.append([event("a"), event("b")], NOW).result()
    with Tallystick(backend.product.settings) as started:
        started.ingest.warm_up()
        with mock.patch.object(
            IdentityIndex, "load", side_effect=AssertionError("the log was read again")
        ):
            again = started.events.append([event("a"), event("c"), event("b", "2")], NOW)
            assert again.result() == [DUPLICATE, ACCEPTED, CONFLICT]


def test_append_judges_each_event_by_identity_and_content(backend: Backend) -> None:
    events = backend.product.events
    batch = [event("a"), event("a"), event("b"), event("a", "2")]
    assert events.append(batch, NOW).result() == [ACCEPTED, DUPLICATE, ACCEPTED, CONFLICT]
    assert events.append([event("a"), event("b", "7")], NOW).result() == [DUPLICATE, CONFLICT]
    assert events.count() == 2
    assert Decimal(2) == measured(backend.product, SUM)


def test_the_same_id_at_another_time_or_of_another_source_is_told_apart(backend: Backend) -> None:
    events = backend.product.events
    other_source = UsageEvent("t", "a", "seen", "acme", NOW, Decimal(1))
    batch = [event("a"), event("a", at=NOW - HOUR_US), other_source]
    assert events.append(batch, NOW).result() == [ACCEPTED, CONFLICT, ACCEPTED]


def test_properties_written_differently_are_the_same_content(backend: Backend) -> None:
    events = backend.product.events
    batch = [
        event("a", properties=b'{"x":1,"y":[1.50]}'),
        event("a", properties=b'{ "y": [1.50], "x": 1 }'),
        event("a", properties=b'{"x":1,"y":[1.51]}'),
    ]
    assert events.append(batch, NOW).result() == [ACCEPTED, DUPLICATE, CONFLICT]


def test_what_was_acknowledged_survives_a_crash(backend: Backend) -> None:
    batch = [event(str(number), "0.1") for number in range(300)]
    backend.product.events.append(batch, NOW).result()
    backend.crash()
    assert backend.product.events.append(batch, NOW).result() == [DUPLICATE] * 300
    assert Decimal("30.0") == measured(backend.product, SUM)
    assert findings(backend.product) == []


def test_an_overflow_stores_nothing_and_the_next_append_goes_on(backend: Backend) -> None:
    largest = [event(f"big{number}", "9" * 15) for number in range(9_300)]
    with pytest.raises(UsageOverflow):
        backend.product.events.append(largest, NOW).result()
    assert backend.product.events.count() == 0
    assert backend.product.events.append([event("a")], NOW).result() == [ACCEPTED]
    assert Decimal(1) == measured(backend.product, SUM)
    assert findings(backend.product) == []


def test_racing_writers_store_each_event_once(backend: Backend) -> None:
    """Two stores on the same data, as two processes have them, append overlapping events."""
    second = Tallystick(backend.product.settings, backend.product.clock)
    answers: list[list[EventStatus]] = []

    def write(product: Tallystick, first: int) -> None:
        for start in range(first, first + 600, 20):
            batch = [event(str(number), "0.5") for number in range(start, start + 20)]
            answers.append(product.events.append(batch, NOW).result())

    threads = [
        threading.Thread(target=write, args=pair) for pair in ((backend.product, 0), (second, 300))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.close()
    statuses = [status for answer in answers for status in answer]
    assert (statuses.count(ACCEPTED), statuses.count(DUPLICATE)) == (900, 300)
    assert Decimal(450) == measured(backend.product, SUM)
    assert findings(backend.product) == []


def test_a_meter_declared_later_counts_what_was_stored_before(backend: Backend) -> None:
    product = backend.product
    product.events.append([event("a", "3"), event("b", "9"), event("c", "4")], NOW).result()
    correction = Correction("s", "b", None, "ann", "a test")
    assert product.events.correct([correction], NOW).result() == [CorrectionStatus.CORRECTED]
    put_in_force(product, (COUNT, SUM, LARGEST))
    assert Decimal(4) == measured(product, LARGEST)
    product.events.append([event("d", "5")], NOW).result()
    assert Decimal(5) == measured(product, LARGEST)
    assert findings(product) == []


def test_a_correction_leaves_the_event_as_it_was_sent(backend: Backend) -> None:
    product = backend.product
    product.events.append([event("a", "3")], NOW).result()
    product.events.correct([Correction("s", "a", Decimal(8), "ann", "wrong unit")], NOW).result()
    found = product.events.find("s", "a")
    assert found is not None
    assert (Decimal(3), Decimal(8)) == (found.event.value, found.counts_for)
    assert [found.event] == [stored.event for stored in product.events.scan(0, 10)]
    assert Decimal(8) == measured(product, SUM)
    assert product.events.find("s", "nobody") is None
