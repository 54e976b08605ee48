"""Usage that no billing period covers, as people and programs see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.billing.linking import ALL_TIME
from tallystick.domain.instants import format_instant
from tallystick.domain.quantity import plain
from tallystick.oversight.dead_letter_view import money_view

if TYPE_CHECKING:
    from tallystick.billing.unbilled_usage import UnbilledUsage


def unbilled_view(found: UnbilledUsage) -> dict[str, Any]:
    """Return one span of it; ``from`` and ``to`` are None where no period bounds it."""
    start_at, end_at = found.span.start_at, found.span.end_at
    return {
        "customer": found.customer,
        "meter": found.meter_key,
        "from": None if start_at == ALL_TIME.start_at else format_instant(start_at),
        "to": None if end_at == ALL_TIME.end_at else format_instant(end_at),
        "events": found.events,
        "quantity": plain(found.quantity),
        "at_stake": money_view(found.at_stake),
    }
