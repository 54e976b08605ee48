"""Meter event summaries: what Stripe has counted so far."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import number
from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.lifecycle.usage import aggregate, events_between
from tallystick.sandbox.state.ids import token
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import list_of
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import Meter, MeterEvent
    from tallystick.sandbox.wire.operations import Call

MINUTE_S = 60
WINDOWS_S = {"hour": 3_600, "day": 86_400}
WINDOWS_MAX = 20_000
"""Windows of one request, a limit of the sandbox."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One row."""

    id: str
    meter: str
    start: int
    end: int
    value: Decimal


def _render(summary: Summary) -> dict[str, Any]:
    return {
        "id": summary.id,
        "object": "billing.meter_event_summary",
        "aggregated_value": number(summary.value),
        "end_time": summary.end,
        "livemode": False,
        "meter": summary.meter,
        "start_time": summary.start,
    }


def list_summaries(call: Call) -> dict[str, Any]:
    """List the totals of a customer in [start_time, end_time), newest window first.

    Raises:
        StripeError: 400, unknown customer, instants that are not aligned to the minute, or to the
            window when one is asked for.
    """
    account, params = call.account, call.params
    meter = account.meters.get(call.path["id"])
    if meter is None:
        raise missing("billing meter", call.path["id"])
    customer = params["customer"]
    if customer not in account.customers:
        raise missing("customer", customer, "customer", status=400)
    start, end = params["start_time"], params["end_time"]
    width_s = WINDOWS_S.get(params.get("value_grouping_window", ""))
    _check_aligned(start, end, width_s)
    settle_meter_events(account)
    now = account.customer_now(customer)
    events = [
        event
        for event in events_between(account, meter.id, customer, start, end)
        if event.visible_at <= now
    ]
    rows = _windows(account, meter, customer, events, (start, end, width_s))
    return list_of(call, rows, _render, noun="billing meter event summary")


def _check_aligned(start: int, end: int, width_s: int | None) -> None:
    step_s = width_s or MINUTE_S
    unit = {MINUTE_S: "minute", 3_600: "UTC hour", 86_400: "UTC day"}[step_s]
    for name, value in (("start_time", start), ("end_time", end)):
        if value % step_s:
            raise refused(f"`{name}` must be aligned with {unit} boundaries.", name)
    if end <= start:
        raise refused("`end_time` must be after `start_time`.", "end_time")
    if (end - start) // step_s > WINDOWS_MAX and width_s:
        raise refused("The time range has too many windows.", "end_time")


def _windows(
    account: Account,
    meter: Meter,
    customer: str,
    events: list[MeterEvent],
    span: tuple[int, int, int | None],
) -> list[Summary]:
    """Return the rows: one for the whole range, or one for each window that has events."""
    start, end, width_s = span
    if width_s is None:
        total = aggregate(meter, events)
        return [_summary(account, meter, customer, (start, end), total)]
    by_window: dict[int, list[MeterEvent]] = {}
    for event in events:
        by_window.setdefault(event.timestamp // width_s, []).append(event)
    return [
        _summary(
            account,
            meter,
            customer,
            (window * width_s, (window + 1) * width_s),
            aggregate(meter, by_window[window]),
        )
        for window in sorted(by_window, reverse=True)
    ]


def _summary(
    account: Account, meter: Meter, customer: str, span: tuple[int, int], value: Decimal
) -> Summary:
    name = token(f"{account.id}/{meter.id}/{customer}/{span}", 24)
    return Summary(f"mtrusg_test_{name}", meter.id, *span, value)


OPERATIONS = (
    Operation(
        "GET",
        "/v1/billing/meters/{id}/event_summaries",
        list_summaries,
        "customer end_time ending_before limit start_time starting_after value_grouping_window",
    ),
)
