"""Events: snapshots of 30 days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.resources.older_facts import StoredFacts
from tallystick.sandbox.shapes.events import render_event
from tallystick.sandbox.wire.errors import missing, unsupported
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.operations import Operation
from tallystick.sandbox.wire.versions import NEWEST

if TYPE_CHECKING:
    from tallystick.sandbox.state.records import Event
    from tallystick.sandbox.wire.operations import Call


def _shown(call: Call, event: Event) -> dict[str, Any]:
    # the operation's own answer is turned into the version afterwards, so it is rendered newest
    body = render_event(event, NEWEST, StoredFacts(call.account))
    body["api_version"] = call.version.value
    return body


def _is_kept(call: Call, event: Event) -> bool:
    lifetime_s = call.account.settings.event_lifetime_s
    return not event.is_thin and event.made_at > call.account.real_now() - lifetime_s


def retrieve_event(call: Call) -> dict[str, Any]:
    """Return an event of the last 30 days."""
    event = call.account.events.get(call.path["id"])
    if event is None or not _is_kept(call, event):
        raise missing("event", call.path["id"])
    return _shown(call, event)


def list_events(call: Call) -> dict[str, Any]:
    """List events; a type may end in ``.*``."""
    wanted = call.params
    if "delivery_success" in wanted:
        raise unsupported("The parameter `delivery_success`", "delivery_success")
    types = wanted.get("types") or ([wanted["type"]] if "type" in wanted else None)
    exact = types[0] if types and len(types) == 1 and "*" not in types[0] else None
    return list_page(
        call,
        call.account.events,
        lambda event: _shown(call, event),
        noun="event",
        where=lambda e: (
            _is_kept(call, e)
            and in_range(e.created, wanted.get("created"))
            and (types is None or any(matches_type(pattern, e.type) for pattern in types))
        ),
        type=exact,
    )


def matches_type(pattern: str, kind: str) -> bool:
    """Say whether an event type matches ``*``, ``invoice.*`` or a whole name."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return kind.startswith(pattern[:-1])
    return pattern == kind


OPERATIONS = (
    Operation("GET", "/v1/events/{id}", retrieve_event),
    Operation(
        "GET",
        "/v1/events",
        list_events,
        "created delivery_success ending_before limit starting_after type types",
    ),
)
