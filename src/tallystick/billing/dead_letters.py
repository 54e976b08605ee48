"""Dead letters: reports that stand still, what they are worth, and how a person moves them on."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.meters import StripeFormula
from tallystick.domain.money import Money
from tallystick.domain.quantity import ZERO, subtract
from tallystick.domain.rating.charges import rate
from tallystick.domain.reports import (
    STUCK,
    ParkReason,
    PlannedReport,
    ReportState,
    grace_us,
    park_reason,
    report_identifier,
    report_timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tallystick.domain.reports import UsageReport
    from tallystick.domain.subscriptions import CustomerLink
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.event_store import UsageReader
    from tallystick.ports.outbox import Decision, ReportBook, StuckFilter, StuckReports

BULK_MAX = 1_000
"""Reports that one command moves on: a mistake stays small enough to be looked through."""


class DeadLetter(NamedTuple):
    """A stuck report. ``age_us`` counts from its planning.

    ``at_stake`` is what the invoice would lack without it, or None where its price is not in our
    catalog.
    """

    report: UsageReport
    age_us: int
    at_stake: Money | None


class Remedy(StrEnum):
    """What became of a report that was to be moved on."""

    REPLACED = "replaced"
    """A new report in its place is on its way."""
    DELIVERED = "delivered"
    WAIVED = "waived"
    NOT_STUCK = "not_stuck"
    """It is stuck no more, or never was."""
    UNRESOLVED = "unresolved"
    """It may have arrived: driving it again could bill twice, and nobody said that it is missing.
    """
    TOO_LATE = "too_late"
    """Stripe would not bill it any more: it is late usage."""


MOVED_ON = (Remedy.REPLACED, Remedy.DELIVERED, Remedy.WAIVED)
"""What ended a report's standing still."""


class Remedied(NamedTuple):
    """One report's id and what became of it."""

    report_id: int
    remedy: Remedy


class DeadLetters:
    """What ``tallystick dead`` and its HTTP twin do."""

    def __init__(
        self,
        *,
        stuck: StuckReports,
        book: ReportBook,
        usage: UsageReader,
        catalog: CatalogStore,
        customers: CustomerDirectory,
        now_of: Callable[[CustomerLink], int],
        clock: Clock,
    ) -> None:
        self._stuck = stuck
        self._book = book
        self._usage = usage
        self._catalog = catalog
        self._customers = customers
        self._now_of = now_of
        self._clock = clock

    def listed(self, chosen: StuckFilter, after_id: int, limit: int) -> list[DeadLetter]:
        """Return stuck reports in the order of their ids."""
        return [self._letter(report) for report in self._stuck.find(chosen, after_id, limit)]

    def count(self, chosen: StuckFilter) -> int:
        """Return how many reports are stuck."""
        return self._stuck.count(chosen)

    def shown(self, report_id: int) -> tuple[DeadLetter, list[tuple[str, Decision]]] | None:
        """Return a report, in whatever state, with what was decided about it."""
        report = self._stuck.get(report_id)
        if report is None:
            return None
        return self._letter(report), self._stuck.decisions(report_id)

    def retry(
        self, report_ids: Iterable[int], decision: Decision, *, surely_missing: bool
    ) -> list[Remedied]:
        """Drive reports again, each as a new report with an identifier of its own.

        ``surely_missing`` is the word of a person that what may have arrived did not.

        Raises:
            StripeUnreachable, StripeRefused: a test clock could not be read.
        """
        return [
            Remedied(
                report_id,
                self._retried(self._stuck.get(report_id), decision, surely_missing=surely_missing),
            )
            for report_id in report_ids
        ]

    def settle(
        self, report_ids: Iterable[int], state: ReportState, decision: Decision
    ) -> list[Remedied]:
        """End reports without telling Stripe: it has them (delivered), or need not (waived)."""
        settled = []
        for report_id in report_ids:
            report = self._stuck.get(report_id)
            is_closed = report is not None and self._stuck.close(report, state, decision)
            settled.append(Remedied(report_id, Remedy(state) if is_closed else Remedy.NOT_STUCK))
        return settled

    def _retried(
        self, report: UsageReport | None, decision: Decision, *, surely_missing: bool
    ) -> Remedy:
        if report is None or report.state not in STUCK:
            return Remedy.NOT_STUCK
        if report.state is ReportState.UNRESOLVED and not surely_missing:
            return Remedy.UNRESOLVED
        planned = None if self._is_planned_anew(report) else self._planned(report)
        if isinstance(planned, ParkReason):
            return Remedy.TOO_LATE
        is_replaced = self._stuck.replace(report, planned, decision)
        return Remedy.REPLACED if is_replaced else Remedy.NOT_STUCK

    def _is_planned_anew(self, report: UsageReport) -> bool:
        """Tell whether what it takes depends on the other reports by now: the reporter plans it.

        A difference that was parked is nothing that a meter could be told that counts events, or
        takes the last value: to the one any event is one more, to the other it is the whole level.
        """
        meter = self._catalog.meters().by_key.get(report.meter_key)
        adds_up = meter is None or meter.formula is StripeFormula.SUM
        return report.is_planned_anew or not adds_up

    def _planned(self, report: UsageReport) -> PlannedReport | ParkReason:
        """Return the report once more, with a sequence, timestamp and identifier of its own.

        It goes to the Stripe customer that is linked by now: a wrong link is a reason to be here.
        """
        link = self._customers.find(report.customer)
        now = self._clock.now() if link is None else self._now_of(link)
        stripe_customer_id = link.stripe_customer_id if link else report.stripe_customer_id
        reason = park_reason(report.period, now, report.way)
        timestamp = report_timestamp(report.period, report.window.end_at, now)
        if reason or timestamp is None:
            return reason or ParkReason.NO_TIMESTAMP
        sequence = self._book.reported(
            report.customer, report.meter_key, report.period
        ).next_sequence
        return PlannedReport(
            customer=report.customer,
            stripe_customer_id=stripe_customer_id,
            meter_key=report.meter_key,
            period=report.period,
            window=report.window,
            sequence=sequence,
            quantity=report.quantity,
            timestamp=timestamp,
            identifier=report_identifier(
                stripe_customer_id, report.meter_key, report.window, sequence, report.quantity
            ),
            state=ReportState.PENDING,
            reason=None,
            closes_at=self._clock.now() + report.period.end_at + grace_us(report.way) - now,
            way=report.way,
        )

    def _letter(self, report: UsageReport) -> DeadLetter:
        return DeadLetter(report, self._clock.now() - report.planned_at, self._at_stake(report))

    def _at_stake(self, report: UsageReport) -> Money | None:
        """Return what the period's usage costs, less what it costs without the report."""
        meter = self._catalog.meters().by_key.get(report.meter_key)
        items, _ = self._customers.items(report.stripe_customer_id)
        stripe_meter_id = self._catalog.stripe_meter_ids().get(report.meter_key)
        for item in items:
            is_the_item = (
                item.stripe_item_id == report.stripe_item_id
                if report.stripe_item_id
                else item.stripe_meter_id == stripe_meter_id
            )
            price = self._catalog.price(item.stripe_price_id)
            if meter is None or price is None or not is_the_item:
                continue
            if not item.period.overlaps(report.period):
                continue
            measured = self._usage.usage_and_history(
                meter, report.customer, report.period
            ).reportable(meter.aggregation)
            whole = rate(price, max(measured, ZERO))
            without = rate(price, max(subtract(measured, report.quantity), ZERO))
            return Money(whole.amount_minor - without.amount_minor, whole.currency)
        return None
