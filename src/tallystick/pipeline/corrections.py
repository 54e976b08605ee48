"""Corrections on their way to the store: checked as the events were that they correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.corrections import REASON_CHARS_MAX, Correction, CorrectionStatus
from tallystick.domain.quantity import QuantityError, parse_quantity

if TYPE_CHECKING:
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.event_store import EventStore


class CorrectionRefused(ValueError):
    """A correction that cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Corrections:
    """Voids events and replaces their values. Open periods count anew; what a closed one counts
    differently is parked by the reporter as late usage with its difference.
    """

    def __init__(self, events: EventStore, catalog: CatalogStore, clock: Clock) -> None:
        self._events = events
        self._catalog = catalog
        self._clock = clock

    def correct(self, correction: Correction) -> CorrectionStatus:
        """Put one correction in force and wait until it is durable.

        Raises:
            CorrectionRefused: no actor or reason, or a value that no event of any meter may have.
            StoreUnavailable: nothing was stored; repeat later.
            UsageOverflow: a sum would leave the range that is added exactly.
        """
        for field, text in (("actor", correction.actor), ("reason", correction.reason)):
            if not text.strip():
                raise CorrectionRefused(f"{field}_missing", f"say the {field} of a correction")
            if len(text) > REASON_CHARS_MAX:
                raise CorrectionRefused(
                    f"{field}_too_long", f"the {field} has over {REASON_CHARS_MAX} characters"
                )
        if correction.value is not None:
            self._check_value(correction)
        (status,) = self._events.correct([correction], self._clock.now()).result()
        return status

    def _check_value(self, correction: Correction) -> None:
        assert correction.value is not None
        stored = self._events.find(correction.source, correction.id)
        try:
            value = parse_quantity(correction.value)
            for meter in self._catalog.meters().selecting(stored.event.type) if stored else ():
                meter.check(value)
        except QuantityError as error:
            raise CorrectionRefused(error.code, str(error)) from None
