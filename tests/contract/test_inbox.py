"""What every inbox promises, whichever backend it is."""

from __future__ import annotations

import threading
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tallystick.ports.errors import LeaseLost
from tallystick.ports.inbox import ArrivedEvent, Brought, InboxState, MeterError
from tests.contract.backends import NOW
from tests.contract.racing import race

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

LEASE_US = 1_000_000
SETTLED, WAITING, DEAD = InboxState.SETTLED, InboxState.WAITING, InboxState.DEAD


def arrived(event_id: str, body: bytes = b"{}") -> ArrivedEvent:
    return ArrivedEvent(
        event_id, "customer.updated", None, is_thin=False, body=body, brought=Brought.WEBHOOK
    )


def add(store: Tallystick, *event_ids: str, now: int = NOW) -> list[bool]:
    return [store.inbox.add(arrived(event_id), now).result() for event_id in event_ids]


def test_an_event_is_kept_once_and_as_it_came(store: Tallystick) -> None:
    event = ArrivedEvent(
        "evt_1", "v1.x", "2026-10-28.endive", is_thin=True, body=b"\x00\xff", brought=Brought.SWEEP
    )
    assert store.inbox.add(event, NOW).result() is True
    assert store.inbox.add(event._replace(body=b"else"), NOW + 1).result() is False
    found = store.inbox_reader.find("evt_1")
    assert found is not None
    assert found[1:] == (*event, NOW, WAITING, 0, None)
    assert found.is_thin is True
    assert store.inbox_reader.find("evt_2") is None
    assert store.inbox_reader.unknown(["evt_0", "evt_1", "evt_2"]) == ["evt_0", "evt_2"]


def test_racing_arrivals_of_one_event_keep_it_once(store: Tallystick, other: Tallystick) -> None:
    ids = [f"evt_{number}" for number in range(20)]
    answers = race([partial(add, one, *ids) for one in (store, other, store, other)])
    assert [sum(answer) for answer in zip(*answers, strict=True)] == [1] * len(ids)
    assert store.inbox.counts() == {WAITING: len(ids)}


def test_numbers_grow_and_are_never_given_twice(store: Tallystick) -> None:
    assert store.inbox.last_seq() == 0
    add(store, "evt_1", "evt_2")
    seqs = [event.seq for event in store.inbox.events(None, 10)]
    assert seqs == sorted(seqs, reverse=True)
    last = store.inbox.last_seq()
    assert last >= max(seqs)
    for claim in store.inbox.claim(NOW, LEASE_US, 10):
        store.inbox.settle(claim, SETTLED, None, NOW, NOW)
    assert store.inbox_reader.forget_settled(NOW + 1) == 2
    assert store.inbox.last_seq() == last
    add(store, "evt_3")
    assert store.inbox.last_seq() > last


def test_a_claim_is_counted_and_not_given_again_before_its_lease_is_over(
    store: Tallystick, other: Tallystick
) -> None:
    add(store, "evt_1", "evt_2", "evt_3")
    claims = store.inbox.claim(NOW, LEASE_US, 2)
    assert [claim.event.event_id for claim in claims] == ["evt_1", "evt_2"]
    assert [claim.event.attempts for claim in claims] == [1, 1]
    assert [claim.event.event_id for claim in other.inbox.claim(NOW, LEASE_US, 9)] == ["evt_3"]
    assert other.inbox.claim(NOW + LEASE_US - 1, LEASE_US, 9) == []
    again = other.inbox.claim(NOW + LEASE_US, LEASE_US, 9)
    assert [claim.event.attempts for claim in again] == [2, 2, 2]


def test_who_lost_its_lease_settles_nothing(store: Tallystick, other: Tallystick) -> None:
    add(store, "evt_1")
    (lost,) = store.inbox.claim(NOW, LEASE_US, 1)
    (held,) = other.inbox.claim(NOW + LEASE_US, LEASE_US, 1)
    with pytest.raises(LeaseLost, match="evt_1"):
        store.inbox.settle(lost, DEAD, "too late", NOW, NOW)
    other.inbox.settle(held, SETTLED, None, NOW, NOW)
    with pytest.raises(LeaseLost):
        other.inbox.settle(held, DEAD, "twice", NOW, NOW)
    found = store.inbox_reader.find("evt_1")
    assert found is not None
    assert (found.state, found.reason) == (SETTLED, None)


def test_a_waiting_event_is_tried_again_at_its_time(store: Tallystick) -> None:
    add(store, "evt_1")
    (claim,) = store.inbox.claim(NOW, LEASE_US, 1)
    store.inbox.settle(claim, WAITING, "Stripe is down", NOW, NOW + 500)
    assert store.inbox.claim(NOW + 499, LEASE_US, 1) == []
    (claim,) = store.inbox.claim(NOW + 500, LEASE_US, 1)
    assert (claim.event.attempts, claim.event.reason) == (2, "Stripe is down")


def test_a_replay_begins_anew_and_ends_a_lease(store: Tallystick) -> None:
    add(store, "evt_1", "evt_2")
    dead, held = store.inbox.claim(NOW, LEASE_US, 2)
    store.inbox.settle(dead, DEAD, "no such object", NOW, NOW)
    assert [e.event_id for e in store.inbox.events(DEAD, 9)] == ["evt_1"]
    assert store.inbox.counts() == {DEAD: 1, WAITING: 1}
    assert store.inbox.replay(["evt_1", "evt_2", "evt_9"], NOW) == 2
    with pytest.raises(LeaseLost):
        store.inbox.settle(held, SETTLED, None, NOW, NOW)
    again = store.inbox.claim(NOW, LEASE_US, 9)
    assert sorted((c.event.event_id, c.event.attempts, c.event.reason) for c in again) == [
        ("evt_1", 1, None),
        ("evt_2", 1, None),
    ]


def test_only_settled_events_from_before_are_forgotten(store: Tallystick) -> None:
    add(store, "evt_1", "evt_2")
    for claim in store.inbox.claim(NOW, LEASE_US, 1):
        store.inbox.settle(claim, SETTLED, None, NOW, NOW)
    assert store.inbox_reader.forget_settled(NOW) == 0
    assert store.inbox_reader.forget_settled(NOW + 1) == 1
    assert [event.event_id for event in store.inbox.events(None, 9)] == ["evt_2"]


def test_racing_workers_are_given_each_event_once(store: Tallystick, other: Tallystick) -> None:
    ids = [f"evt_{number}" for number in range(60)]
    add(store, *ids)

    def work(worker: Tallystick) -> list[str]:
        done = []
        while claims := worker.inbox.claim(NOW, LEASE_US, 3):
            for claim in claims:
                worker.inbox.settle(claim, SETTLED, None, NOW, NOW)
                done.append(claim.event.event_id)
        return done

    done = race([partial(work, one) for one in (store, other, store, other)])
    assert sorted(ids) == sorted(event_id for part in done for event_id in part)
    assert store.inbox.counts() == {SETTLED: len(ids)}


def error(event_id: str, body: bytes = b"{}") -> MeterError:
    return MeterError(0, event_id, "v1.billing.meter.no_meter_found", None, body, NOW)


def test_a_meter_error_is_kept_once(store: Tallystick) -> None:
    first = MeterError(0, "evt_1", "v1.x", "mtr_1", b"\x00\xff", NOW)
    store.meter_errors.keep(first)
    store.meter_errors.keep(error("evt_1", b"else"))
    store.meter_errors.keep(error("evt_2"))
    one, two = store.meter_errors.after(0, 9)
    assert (one._replace(seq=0), two._replace(seq=0)) == (first, error("evt_2"))
    assert store.meter_errors.after(one.seq, 9) == [two]
    assert store.meter_errors.after(0, 1) == [one]
    assert store.meter_errors.after(two.seq, 9) == []


def test_whoever_reads_meter_errors_by_number_misses_none(
    store: Tallystick, other: Tallystick
) -> None:
    """Numbers may be given in another order than they are committed in."""
    numbers = count()
    is_over = threading.Event()

    def write(writer: Tallystick) -> list[str]:
        ids = [f"evt_{next(numbers)}" for _ in range(40)]
        for event_id in ids:
            writer.meter_errors.keep(error(event_id))
        return ids

    def read() -> list[str]:
        seen, last, is_last = [], 0, False
        while True:
            found = store.meter_errors.after(last, 5)
            seen += [one.event_id for one in found]
            last = found[-1].seq if found else last
            if not found and is_last:
                return seen
            is_last = is_over.is_set()

    reading: list[list[str]] = []
    reader = threading.Thread(target=lambda: reading.append(read()))
    reader.start()
    try:
        kept = race([partial(write, one) for one in (store, other, store, other)])
    finally:
        is_over.set()
        reader.join()
    assert sorted(one for part in kept for one in part) == sorted(reading[0])
