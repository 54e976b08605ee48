"""What an account needs from the world outside its state: webhooks and metering faults.

The plain class delivers nothing and rejects nothing; the server replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.sandbox.state.records import Event, MeterEvent


class Outlets:
    """Where events go and where injected metering faults come from."""

    def publish(self, event: Event) -> None:
        """Hand an event to the endpoints that want it."""

    def has_listeners(self, _kind: str) -> bool:
        """Say whether any endpoint wants a kind of event."""
        return False

    def awaits(self, _invoice: str) -> bool:
        """Say whether an invoice's creation is still being delivered."""
        return False

    async def answered(self, test_clock: str) -> None:
        """Wait until no invoice of a test clock has webhooks on their way."""

    def metering_failure(self, _event: MeterEvent) -> tuple[str, str] | None:
        """Return (code, message) when an accepted event is made to fail."""
        return None

    def report_meter_error(self, event: MeterEvent, code: str, message: str) -> None:
        """Collect an asynchronous failure for the next error report."""

    def summary_lag_s(self, _customer: str) -> int:
        """Return by how many seconds of the customer's clock summaries lag."""
        return 0
