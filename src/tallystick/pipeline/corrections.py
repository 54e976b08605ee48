"""Corrections on their way to the store: checked as the events were that they correct."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tallystick.domain.corrections import REASON_CHARS_MAX, Correction, CorrectionStatus
from tallystick.domain.quantity import QuantityError, parse_quantity
from tallystick.ports.errors import UsageOverflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.event_store import EventStore


class CorrectionRefused(ValueError):
    """A correction that cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Outcome = CorrectionStatus | CorrectionRefused
"""What became of a correction, or why it cannot be."""


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
            CorrectionRefused: no actor or reason, a value that no event of any meter may have, or
                one that takes a sum out of the range that is added exactly.
            StoreUnavailable: nothing was stored; repeat later.
        """
        (outcome,) = self.correct_all([correction])
        if isinstance(outcome, CorrectionRefused):
            raise outcome
        return outcome

    def correct_all(self, corrections: Sequence[Correction]) -> list[Outcome]:
        """Put corrections in force, in order, and wait until they are durable; return what became
        of each. One that cannot be costs the others nothing.

        Raises:
            StoreUnavailable: repeat all of it: what is in force already is left unchanged.
        """
        checked = [self._checked(correction) for correction in corrections]
        sound = [each for each in checked if isinstance(each, Correction)]
        stored = iter(self._stored(sound))
        return [next(stored) if isinstance(each, Correction) else each for each in checked]

    def _stored(self, corrections: list[Correction]) -> Sequence[Outcome]:
        if not corrections:
            return []
        try:
            return self._events.correct(corrections, self._clock.now()).result()
        except UsageOverflow as error:
            if len(corrections) == 1:
                return [CorrectionRefused(error.code, str(error))]
        return [outcome for each in corrections for outcome in self._stored([each])]

    def _checked(self, correction: Correction) -> Correction | CorrectionRefused:
        """Return the correction, its value in plain form, or why it cannot be."""
        for field, text in (("actor", correction.actor), ("reason", correction.reason)):
            if not text.strip():
                return CorrectionRefused(f"{field}_missing", f"say the {field} of a correction")
            if len(text) > REASON_CHARS_MAX:
                return CorrectionRefused(
                    f"{field}_too_long", f"the {field} has over {REASON_CHARS_MAX} characters"
                )
            if "\0" in text:
                return CorrectionRefused(f"{field}_invalid", f"the {field} has a NUL character")
        if correction.value is None:
            return correction
        stored = self._events.find(correction.source, correction.id)
        try:
            value = parse_quantity(correction.value)
            for meter in self._catalog.meters().selecting(stored.event.type) if stored else ():
                meter.check(value)
        except QuantityError as error:
            return CorrectionRefused(error.code, str(error))
        return replace(correction, value=value)
