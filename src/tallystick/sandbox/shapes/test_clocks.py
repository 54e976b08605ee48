"""How test clocks look on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.sandbox.state.records import TestClock


def render_test_clock(clock: TestClock) -> dict[str, Any]:
    """Return a test clock; while it advances, the target stands in its status details."""
    details: dict[str, Any] = {}
    if clock.target is not None:
        details = {"advancing": {"target_frozen_time": clock.target}}
    return {
        "id": clock.id,
        "object": "test_helpers.test_clock",
        "created": clock.created,
        "deletes_after": clock.deletes_after,
        "frozen_time": clock.frozen_time,
        "livemode": False,
        "name": clock.name,
        "status": _status(clock),
        "status_details": details,
    }


def _status(clock: TestClock) -> str:
    if clock.is_failed:
        return "internal_failure"
    return "ready" if clock.target is None else "advancing"
