"""Periods are sorted anew while another server plans, claims or settles: each held where it hurts.

Two servers with connections of their own; the one is held inside of its transaction, until the
other one is seen to wait for it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tallystick.config import Settings
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.ports.outbox import (
    Due,
    Outcome,
    Rearrangement,
    Reported,
    Settlement,
    SortedPeriod,
)
from tallystick.storage import outbox as shared
from tallystick.storage import period_book
from tallystick.storage.postgres import outbox
from tallystick.wiring import Tallystick
from tests.contract.backends import NOW, put_in_force
from tests.contract.planning import LEASE_US, PERIOD, plan, planned
from tests.fixtures.blocking import Gate, wait_until_blocked
from tests.fixtures.clock import FakeClock
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tallystick.domain.reports import UsageReport

CUT = Period(PERIOD.start_at, NOW)
DELIVERED = Settlement(ReportState.DELIVERED)
DUE = Due("acme", "seen", -1)


class Servers:
    """Two of them on one database, with two pending reports of one period."""

    def __init__(self, url: str) -> None:
        self._url = url
        settings = Settings(database_url=url)
        self.one = Tallystick(settings, FakeClock(NOW))
        self.two = Tallystick(settings, FakeClock(NOW))
        put_in_force(self.one, (Meter("seen", "", "seen", Aggregation.COUNT),))
        plan(self.one, planned(quantity="5"), planned(sequence=1, quantity="7"))

    def close(self) -> None:
        self.one.close()
        self.two.close()

    def rearrange(self) -> bool:
        """Cut the period short, on the second server, as far as its reports are known now."""
        periods = (SortedPeriod(CUT, 2),)
        changes = Rearrangement("acme", "cus_acme", "seen", periods, (), ())
        return self.two.period_book.rearrange(changes, NOW)

    def race(
        self, gate: Gate, held: Callable[[], object], other: Callable[[], object]
    ) -> tuple[object, object]:
        """Run the one until it is held, the other until it waits for it; return what both said."""
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(held)
            gate.meet()
            second = pool.submit(other)
            try:
                wait_until_blocked(self._url)
            finally:
                gate.meet()
            return first.result(PATIENCE_SECONDS), second.result(PATIENCE_SECONDS)

    def reports(self) -> list[UsageReport]:
        return self.one.book.of_period("acme", "seen", PERIOD)


@pytest.fixture
def servers(postgres_url: str) -> Iterator[Servers]:
    """Two servers on a new database."""
    made = Servers(postgres_url)
    yield made
    made.close()


@pytest.fixture
def gate() -> Gate:
    """Where one of them is held."""
    return Gate()


def test_no_end_moves_while_a_report_of_the_period_is_being_planned(
    servers: Servers, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planner has seen the old end; its report may lie beyond the new one."""
    monkeypatch.setattr(shared, "refuse_another_end", gate.after(shared.refuse_another_end))
    more = [planned(sequence=2, quantity="11")]
    record = partial(servers.one.book.record, DUE, more, NOW, due_again_at=None)
    assert servers.race(gate, record, servers.rearrange) == (True, False)
    assert {one.period for one in servers.reports()} == {PERIOD}
    assert servers.one.book.reported("acme", "seen", PERIOD) == Reported(Decimal(23), 3)


def test_nothing_is_planned_for_the_old_end_while_it_moves(
    servers: Servers, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(period_book, "_move_end", gate.after(period_book._move_end))
    more = [planned(sequence=2, quantity="11")]
    record = partial(servers.one.book.record, DUE, more, NOW, due_again_at=None)
    assert servers.race(gate, servers.rearrange, record) == (True, False)
    assert {one.period for one in servers.reports()} == {CUT}
    assert servers.one.book.reported("acme", "seen", PERIOD) == Reported(Decimal(12), 2)


def test_a_worker_that_settles_loses_and_doubles_nothing_while_an_end_moves(
    servers: Servers, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the head of a lane, then lets the next one go; the end moves in both."""
    (claim,) = servers.one.outbox.claim(NOW, LEASE_US, 9)
    monkeypatch.setattr(outbox, "end_leases", gate.after(outbox.end_leases))
    settle = partial(servers.one.outbox.settle, [Outcome(claim, DELIVERED)], NOW)
    assert servers.race(gate, settle, servers.rearrange) == ([], True)
    assert_each_once(servers)


def test_a_worker_that_settles_while_an_end_is_moving_waits_for_it(
    servers: Servers, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claim,) = servers.one.outbox.claim(NOW, LEASE_US, 9)
    monkeypatch.setattr(period_book, "_move_end", gate.after(period_book._move_end))
    settle = partial(servers.one.outbox.settle, [Outcome(claim, DELIVERED)], NOW)
    assert servers.race(gate, servers.rearrange, settle) == (True, [])
    assert_each_once(servers)


def test_what_is_claimed_while_an_end_moves_is_delivered_once(
    servers: Servers, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim waits for nobody: the end moves once the lease is written, and leaves it alone."""
    monkeypatch.setattr(outbox, "lease", gate.after(outbox.lease))
    claim = partial(servers.one.outbox.claim, NOW, LEASE_US, 9)
    claims, is_moved = servers.race(gate, claim, servers.rearrange)
    assert is_moved
    assert isinstance(claims, list)
    assert servers.one.outbox.settle([Outcome(claims[0], DELIVERED)], NOW) == []
    assert_each_once(servers)


def test_what_is_leased_by_nobody_yet_is_passed_over_while_its_end_moves(
    servers: Servers, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(period_book, "_move_end", gate.after(period_book._move_end))
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(servers.rearrange)
        gate.meet()
        try:
            assert servers.one.outbox.claim(NOW, LEASE_US, 9) == []
        finally:
            gate.meet()
        assert moving.result(PATIENCE_SECONDS)
    (claim,) = servers.one.outbox.claim(NOW, LEASE_US, 9)
    assert claim.report.period == CUT
    assert servers.one.outbox.settle([Outcome(claim, DELIVERED)], NOW) == []
    assert_each_once(servers)


def assert_each_once(servers: Servers) -> None:
    """Check that the first report is delivered, the second one next, and the sum as it was."""
    first, second = servers.reports()
    assert first.period == second.period == CUT
    assert (first.state, first.attempts) == (ReportState.DELIVERED, 1)
    assert second.state is ReportState.PENDING
    assert second.closes_at == CUT.end_at
    (going,) = servers.two.outbox.claim(NOW, LEASE_US, 9)
    assert going.report.id == second.id
    assert servers.one.book.reported("acme", "seen", PERIOD) == Reported(Decimal(12), 2)
