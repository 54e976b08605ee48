"""Live usage of one customer, as the API and the command line show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.aggregation import merge_all, quantity_of
from tallystick.domain.instants import format_instant
from tallystick.domain.quantity import plain
from tallystick.domain.usage_windows import WindowSize, cut_into_windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.domain.meters import Meter
    from tallystick.domain.periods import Period
    from tallystick.ports.event_store import UsageReader


def usage_view(
    usage: UsageReader,
    meters: Iterable[Meter],
    customer: str,
    period: Period,
    size: WindowSize | None,
) -> dict[str, Any]:
    """Return the customer's usage of the meters in the period; quantities are decimal strings."""
    return {
        "customer": customer,
        "from": format_instant(period.start_at),
        "to": format_instant(period.end_at),
        "window": size,
        "usage": [_of_meter(usage, meter, customer, period, size) for meter in meters],
    }


def _of_meter(
    usage: UsageReader, meter: Meter, customer: str, period: Period, size: WindowSize | None
) -> dict[str, Any]:
    hours = usage.hours(meter, customer, period)
    total = merge_all(cell.state for cell in hours)
    shown: dict[str, Any] = {
        "meter": meter.key,
        "aggregation": meter.aggregation,
        "quantity": plain(quantity_of(total, meter.aggregation)),
    }
    if size is not None:
        shown["windows"] = [
            {
                "from": format_instant(window.period.start_at),
                "to": format_instant(window.period.end_at),
                "quantity": plain(window.quantity),
            }
            for window in cut_into_windows(hours, size, meter.aggregation)
        ]
    return shown
