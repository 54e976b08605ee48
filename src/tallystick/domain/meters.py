"""Meters: which events count, and how."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tallystick.domain.quantity import DECIMALS_MAX, QuantityError, decimals_of

if TYPE_CHECKING:
    from decimal import Decimal


class Aggregation(StrEnum):
    """How the events of a period become one quantity."""

    COUNT = "count"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class Meter:
    """What is measured: the events of one type, aggregated one way.

    ``key`` is also the ``event_name`` of the Stripe meter that it reports to; that meter's own
    formula is always ``sum``, because Tallystick reports differences. ``decimals`` is how many
    places a value may have (0 to 12). ``report_every_minutes`` None: usage is reported in real
    time; else in batches of that many minutes.
    """

    key: str
    display_name: str
    event_type: str
    aggregation: Aggregation
    decimals: int = 0
    report_every_minutes: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= DECIMALS_MAX:
            raise ValueError(f"meter {self.key}: decimals must be 0 to {DECIMALS_MAX}")

    def check(self, value: Decimal) -> None:
        """Raise ``QuantityError`` (``value_too_many_decimals``) for a value that is finer than the
        meter.

        A meter that counts events takes any value, because it looks at none.
        """
        if self.aggregation is Aggregation.COUNT:
            return
        if decimals_of(value) > self.decimals:
            raise QuantityError(
                "value_too_many_decimals",
                f"the value has {decimals_of(value)} decimal places and meter {self.key} takes "
                f"{self.decimals}",
            )


class MeterSet:
    """The meters in force, by key and by the event type that they select."""

    def __init__(self, meters: tuple[Meter, ...] = (), version: int = 0) -> None:
        self.version = version
        self.by_key = {meter.key: meter for meter in meters}
        self.by_event_type: dict[str, tuple[Meter, ...]] = {}
        for meter in meters:
            chosen = self.by_event_type.get(meter.event_type, ())
            self.by_event_type[meter.event_type] = (*chosen, meter)

    def selecting(self, event_type: str) -> tuple[Meter, ...]:
        """Return the meters that count events of this type."""
        return self.by_event_type.get(event_type, ())
