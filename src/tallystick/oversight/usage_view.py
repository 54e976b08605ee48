"""Live usage of one customer, as the API and the command line show it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.instants import HOUR_US, format_instant
from tallystick.domain.quantity import plain
from tallystick.domain.usage_windows import WindowSize, cut_into_windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.domain.aggregation import RollupState
    from tallystick.domain.meters import Meter, Selection
    from tallystick.domain.periods import Period
    from tallystick.ports.event_store import UsageReader


CARRIED_SPAN_MAX_US = 20_000 * HOUR_US
"""The longest period that is cut into windows for a meter that counts in empty hours too."""


def usage_view(
    usage: UsageReader,
    meters: Iterable[Meter],
    customer: str,
    period: Period,
    size: WindowSize | None,
) -> dict[str, Any]:
    """Return the customer's usage of the meters in the period; quantities are decimal strings.

    Raises:
        ValueError: windows of more hours than can be cut.
    """
    totals: dict[Selection, RollupState] = {}

    def total_of(meter: Meter) -> RollupState:
        """Read once what meters share that count and add the same events."""
        if meter.aggregation.carries:
            return usage.usage(meter, customer, period)
        if meter.selection not in totals:
            totals[meter.selection] = usage.usage(meter, customer, period)
        return totals[meter.selection]

    return {
        "customer": customer,
        "from": format_instant(period.start_at),
        "to": format_instant(period.end_at),
        "window": size,
        "usage": [
            _of_meter(usage, meter, customer, period, size=size, total=total_of(meter))
            for meter in meters
        ],
    }


def _of_meter(
    usage: UsageReader,
    meter: Meter,
    customer: str,
    period: Period,
    *,
    size: WindowSize | None,
    total: RollupState,
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "meter": meter.key,
        "aggregation": meter.aggregation,
        "quantity": plain(quantity_of(total, meter.aggregation)),
    }
    if meter.breakdown is not None:
        groups = usage.breakdown(meter, customer, period)
        shown["groups"] = [
            {
                "group": dict(zip(meter.group_by, json.loads(dimension), strict=True)),
                "quantity": plain(quantity_of(state, meter.aggregation)),
            }
            for dimension, state in sorted(groups.items())
        ]
    if size is not None:
        if meter.aggregation.carries and period.end_at - period.start_at > CARRIED_SPAN_MAX_US:
            raise ValueError(
                f"{meter.key} counts in every hour, with events or without: windows are cut of at "
                f"most {CARRIED_SPAN_MAX_US // HOUR_US:,} hours of it"
            )
        hours = usage.hours(meter, customer, period)
        shown["windows"] = [
            {
                "from": format_instant(window.period.start_at),
                "to": format_instant(window.period.end_at),
                "quantity": plain(window.quantity),
            }
            for window in cut_into_windows(hours, size, meter.aggregation)
        ]
    return shown
