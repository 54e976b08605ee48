"""Billing meters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.shapes.meters import render_meter
from tallystick.sandbox.state.records import Meter
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import list_page
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.wire.operations import Call

DISPLAY_NAME_MAX = 250


def _in_path(call: Call) -> Meter:
    meter = call.account.meters.get(call.path["id"])
    if meter is None:
        raise missing("billing meter", call.path["id"])
    return meter


def create_meter(call: Call) -> dict[str, Any]:
    """Create a meter; an event name belongs to one meter (DOC:meters/configure).

    Raises:
        StripeError: 400, the event name is taken.
    """
    account, params = call.account, call.params
    taken = account.meter_by_event_name.get(params["event_name"])
    if taken is not None:
        raise refused(
            f"An active meter with event name {params['event_name']} already exists: {taken}.",
            "event_name",
        )
    now = call.now()
    meter = Meter(
        id=account.ids.make("mtr_test"),
        created=now,
        updated=now,
        display_name=params["display_name"],
        event_name=params["event_name"],
        formula=params["default_aggregation"]["formula"],
        customer_key=params.get("customer_mapping", {}).get(
            "event_payload_key", "stripe_customer_id"
        ),
        value_key=params.get("value_settings", {}).get("event_payload_key", "value"),
        event_time_window=params.get("event_time_window"),
    )
    account.meters.add(meter)
    account.meter_by_event_name[meter.event_name] = meter.id
    emit(account, "billing.meter.created", render_meter(meter))
    return render_meter(meter)


def retrieve_meter(call: Call) -> dict[str, Any]:
    """Return a meter."""
    return render_meter(_in_path(call))


def update_meter(call: Call) -> dict[str, Any]:
    """Change the display name: all that can be changed."""
    meter = _in_path(call)
    before = render_meter(meter)
    if "display_name" in call.params:
        meter.display_name = call.params["display_name"]
        meter.updated = call.now()
        emit(call.account, "billing.meter.updated", render_meter(meter), before=before)
    return render_meter(meter)


def deactivate_meter(call: Call) -> dict[str, Any]:
    """Deactivate: no more events are accepted and no price can use it."""
    meter = _in_path(call)
    if not meter.is_active:
        raise refused("This meter is already inactive.")
    before = render_meter(meter)
    meter.is_active = False
    meter.deactivated_at = meter.updated = call.now()
    emit(call.account, "billing.meter.deactivated", render_meter(meter), before=before)
    return render_meter(meter)


def reactivate_meter(call: Call) -> dict[str, Any]:
    """Take events again."""
    meter = _in_path(call)
    if meter.is_active:
        raise refused("This meter is already active.")
    before = render_meter(meter)
    meter.is_active = True
    meter.deactivated_at = None
    meter.updated = call.now()
    emit(call.account, "billing.meter.reactivated", render_meter(meter), before=before)
    return render_meter(meter)


def list_meters(call: Call) -> dict[str, Any]:
    """List meters."""
    status = call.params.get("status")
    return list_page(
        call,
        call.account.meters,
        render_meter,
        noun="billing meter",
        where=lambda m: status is None or m.is_active == (status == "active"),
    )


OPERATIONS = (
    Operation(
        "POST",
        "/v1/billing/meters",
        create_meter,
        "customer_mapping default_aggregation display_name event_name event_time_window "
        "value_settings",
    ),
    Operation(
        "GET", "/v1/billing/meters", list_meters, "ending_before limit starting_after status"
    ),
    Operation("GET", "/v1/billing/meters/{id}", retrieve_meter),
    Operation("POST", "/v1/billing/meters/{id}", update_meter, "display_name"),
    Operation("POST", "/v1/billing/meters/{id}/deactivate", deactivate_meter),
    Operation("POST", "/v1/billing/meters/{id}/reactivate", reactivate_meter),
)
