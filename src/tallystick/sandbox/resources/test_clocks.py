"""Test clocks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.arithmetic.calendar import add_intervals
from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.periods import recurring_of
from tallystick.sandbox.lifecycle.timelines import advance
from tallystick.sandbox.shapes.test_clocks import render_test_clock
from tallystick.sandbox.state.records import TestClock
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import list_page
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.operations import Call

EMPTY_ADVANCE_YEARS_MAX = 2
"""DOC:api/test_clocks/advance: two years when there is no subscription."""
INSTANT_MAX = 253_402_300_799
"""The end of the year 9999."""


def _in_path(call: Call) -> TestClock:
    clock = call.account.test_clocks.get(call.path["test_clock"])
    if clock is None:
        raise missing("test_clock", call.path["test_clock"], "test_clock")
    return clock


def create_test_clock(call: Call) -> dict[str, Any]:
    """Create a clock that stands still at ``frozen_time``."""
    account = call.account
    now = call.now()
    frozen_time = call.params["frozen_time"]
    if not 0 <= frozen_time <= INSTANT_MAX:
        raise refused(f"Invalid timestamp: {frozen_time}", "frozen_time")
    clock = TestClock(
        id=account.ids.make("clock"),
        created=now,
        frozen_time=frozen_time,
        deletes_after=now + account.settings.clock_lifetime_s,
        name=call.params.get("name"),
    )
    account.test_clocks.add(clock)
    emit(account, "test_helpers.test_clock.created", render_test_clock(clock), test_clock=clock.id)
    return render_test_clock(clock)


def retrieve_test_clock(call: Call) -> dict[str, Any]:
    """Return a clock."""
    return render_test_clock(_in_path(call))


def list_test_clocks(call: Call) -> dict[str, Any]:
    """List clocks."""
    return list_page(call, call.account.test_clocks, render_test_clock, noun="test_clock")


def advance_test_clock(call: Call) -> dict[str, Any]:
    """Begin to advance; the clock is ready again when everything on the way has happened.

    Raises:
        StripeError: 400, already advancing, backwards, or more than two intervals of the shortest
            subscription.
    """
    clock, account = _in_path(call), call.account
    target = call.params["frozen_time"]
    if clock.target is not None:
        raise refused(
            "The test clock is already advancing. Wait until its status is `ready`.",
            code="test_clock_advancing",
        )
    if target <= clock.frozen_time:
        raise refused("`frozen_time` must be after the test clock's current time.", "frozen_time")
    if target > _latest_target(account, clock):
        raise refused(
            "You cannot advance the clock more than two intervals from the current frozen time, "
            "based on the shortest subscription interval on the clock.",
            "frozen_time",
        )
    clock.target = target
    account.keep_task(asyncio.ensure_future(advance(account, clock)))
    return render_test_clock(clock)


def _latest_target(account: Account, clock: TestClock) -> int:
    """Return how far one advance may go."""
    intervals = account.settings.clock_intervals_max
    latest = [
        add_intervals(clock.frozen_time, recurring.interval, intervals * recurring.interval_count)
        for subscription in account.subscriptions.matching("test_clock", clock.id)
        if not subscription.is_ended
        for recurring in (recurring_of(account, item.price) for item in subscription.items)
    ]
    if latest:
        return min(latest)
    return add_intervals(clock.frozen_time, "year", EMPTY_ADVANCE_YEARS_MAX)


def delete_test_clock(call: Call) -> dict[str, Any]:
    """Delete a clock with its customers and their subscriptions (DOC:api/test_clocks/delete)."""
    clock, account = _in_path(call), call.account
    for id_ in clock.customers:
        for subscription in list(account.subscriptions.matching("customer", id_)):
            account.subscriptions.remove(subscription.id)
        account.customers.remove(id_)
        account.deleted[id_] = "customer"
    account.test_clocks.remove(clock.id)
    account.timelines.pop(clock.id, None)
    emit(account, "test_helpers.test_clock.deleted", render_test_clock(clock))
    return {"id": clock.id, "object": "test_helpers.test_clock", "deleted": True}


_PATH = "/v1/test_helpers/test_clocks"
OPERATIONS = (
    Operation("POST", _PATH, create_test_clock, "frozen_time name"),
    Operation("GET", _PATH, list_test_clocks, "ending_before limit starting_after"),
    Operation("GET", f"{_PATH}/{{test_clock}}", retrieve_test_clock),
    Operation("DELETE", f"{_PATH}/{{test_clock}}", delete_test_clock),
    Operation("POST", f"{_PATH}/{{test_clock}}/advance", advance_test_clock, "frozen_time"),
)
