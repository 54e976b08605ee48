"""The usage events behind a measured quantity, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tallystick.domain.meters import Meter
    from tallystick.domain.periods import Period
    from tallystick.ports.event_store import StoredEvent


class CountedEvents(Protocol):
    """What a Stripe meter that counts meter events is told of."""

    def counted(self, meter: Meter, customer: str, period: Period) -> list[StoredEvent]:
        """Return the events of the period that count for the meter, oldest first.

        Of two at one instant, the one that arrived earlier comes first. Void events are left out.
        """
        ...
