"""Asynchronous metering errors: collected for a moment, then told in a thin event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit_thin
from tallystick.sandbox.shapes.events import rfc3339

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import MeterEvent

SAMPLES_MAX = 5
"""Sample errors of one code: Stripe gives samples only, not every failure."""
WAIT_S = 0.5
"""Real seconds that failures are collected before they are reported."""


class MeterErrorReports:
    """The failures of one account that were not reported yet, by meter."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._failures: dict[str | None, list[tuple[MeterEvent, str, str]]] = {}
        self._since: float | None = None

    def add(self, event: MeterEvent, code: str, message: str) -> None:
        """Collect a failure."""
        meter = self._account.meter_by_event_name.get(event.event_name)
        self._failures.setdefault(meter, []).append((event, code, message))
        if self._since is None:
            self._since = self._account.real_now()

    def report_due(self) -> None:
        """Tell what was collected, once it is old enough."""
        if self._since is None or self._account.real_now() - self._since < WAIT_S:
            return
        failures, self._failures, self._since = self._failures, {}, None
        for meter, rows in failures.items():
            data = self._data(rows)
            if meter is None:
                emit_thin(self._account, "v1.billing.meter.no_meter_found", data, None)
            else:
                related = {
                    "id": meter,
                    "type": "billing.meter",
                    "url": f"/v1/billing/meters/{meter}",
                }
                kind = "v1.billing.meter.error_report_triggered"
                emit_thin(self._account, kind, data, related)

    def _data(self, rows: list[tuple[MeterEvent, str, str]]) -> dict[str, Any]:
        width_s = self._account.settings.meter_error_window_s
        start = int(min(event.counts_at for event, _, _ in rows)) // width_s * width_s
        by_code: dict[str, list[tuple[MeterEvent, str]]] = {}
        for event, code, message in rows:
            by_code.setdefault(code, []).append((event, message))
        plural = "is 1 invalid event" if len(rows) == 1 else f"are {len(rows)} invalid events"
        return {
            "developer_message_summary": f"There {plural}",
            "reason": {
                "error_count": len(rows),
                "error_types": [
                    {
                        "code": code,
                        "error_count": len(found),
                        "sample_errors": [
                            {
                                "error_message": message,
                                # SDK16: "The request idempotency key"; a stream request has
                                # many events, so those are told apart by their own identifier
                                "request": {
                                    "identifier": event.idempotency_key or event.identifier
                                },
                            }
                            for event, message in found[:SAMPLES_MAX]
                        ],
                    }
                    for code, found in by_code.items()
                ],
            },
            "validation_end": rfc3339(start + width_s),
            "validation_start": rfc3339(start),
        }
