"""Confirm: delivered is what Stripe took; verified is what Stripe counts."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from tallystick.domain.instants import HOUR_US
from tallystick.domain.quantity import ZERO, add_all, agrees
from tallystick.domain.reports import ReportState, shown_in, taken_back, told_to
from tallystick.domain.resolution import tell_missing
from tallystick.domain.usage_records import figure_of, records_of
from tallystick.pipeline.resolve import last_known_period
from tallystick.ports.errors import StripeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from tallystick.billing.recorded_items import RecordedItems
    from tallystick.domain.periods import Period
    from tallystick.domain.reports import UsageReport
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.outbox import Confirmations, ReportBook
    from tallystick.ports.stripe import SummaryReader

LOOK_AGAIN_US = HOUR_US
"""After how long a total is read again that did not have everything yet."""

MISSING_AFTER_US = 6 * HOUR_US
"""After how long a report that is not in Stripe's total is taken to be lost: Stripe validates in
seconds, and its totals lag by minutes."""

NOT_SHOWN = "not_shown"
"""The reason of a usage record that is looked for no more: Stripe shows no figure of its item."""

NOT_COUNTED = "not_counted"
"""The reason of a report that Stripe took, never counted, and named in no error."""

_UNSURE = (ReportState.PENDING, ReportState.UNRESOLVED)


class ConfirmOutcome(StrEnum):
    """What became of a report that was looked for."""

    VERIFIED = "verified"
    NOT_YET = "not_yet"
    """Stripe's total is another one; it is read again later."""
    NOT_SHOWN = "not_shown"
    """Stripe does not show its figure; it is asked again later."""
    LEFT = "left"
    """Stripe has not shown its figure for hours; it is asked no more."""
    REJECTED = "rejected"
    """Stripe never counted it: it is dead now."""


class Confirmer:
    """Reads Stripe's totals and says which delivered reports are in them."""

    def __init__(
        self,
        *,
        confirmations: Confirmations,
        book: ReportBook,
        catalog: CatalogStore,
        summaries: SummaryReader,
        recorded: RecordedItems,
        clock: Clock,
    ) -> None:
        self._confirmations = confirmations
        self._book = book
        self._catalog = catalog
        self._summaries = summaries
        self._recorded = recorded
        self._clock = clock

    def run(self) -> Counter[ConfirmOutcome]:
        """Look at every period that is due; return how many reports came to what.

        Raises:
            StripeUnreachable: what was confirmed until then stays so.
        """
        outcomes: Counter[ConfirmOutcome] = Counter()
        while (found := self._confirmations.next_unverified(self._clock.now())) is not None:
            look = self._look if found.stripe_item_id is None else self._look_at_records
            try:
                outcomes.update(look(found))
            except StripeRefused:  # of this one alone: the others are looked at all the same
                self._confirmations.look_again(
                    self._waiting(found), self._clock.now() + LOOK_AGAIN_US
                )
                outcomes[ConfirmOutcome.NOT_SHOWN] += 1
        return outcomes

    def _look_at_records(self, found: UsageReport) -> Counter[ConfirmOutcome]:
        """Look for the records of a billing period of an item, all of which make one figure."""
        now = self._clock.now()
        shown = self._recorded.shown(found)
        if shown is None or not shown.holds(found):
            if (found.settled_at or now) + MISSING_AFTER_US > now:
                self._confirmations.look_again([found], now + LOOK_AGAIN_US)
                return Counter({ConfirmOutcome.NOT_SHOWN: 1})
            self._confirmations.leave([found], NOT_SHOWN)
            return Counter({ConfirmOutcome.LEFT: 1})
        siblings = [one for one in shown.told(self._book, found) if shown.holds(one)]
        delivered = [one for one in siblings if one.state is ReportState.DELIVERED]
        waiting = [one for one in delivered if one.verified_at is None]
        unsure = any(one.state in _UNSURE and one.maybe_taken for one in siblings)
        if agrees(shown.figure(delivered), shown.total) and not unsure:
            self._confirmations.verify(waiting, now)
            return Counter({ConfirmOutcome.VERIFIED: len(waiting)})
        self._confirmations.look_again(waiting, now + LOOK_AGAIN_US)
        return Counter({ConfirmOutcome.NOT_YET: len(waiting)})

    def _siblings(self, found: UsageReport) -> list[UsageReport]:
        """Return the reports of the period that Stripe's figure is made of, itself among them."""
        period = self._book.of_period(found.customer, found.meter_key, found.period)
        return told_to(found.stripe_item_id, period)

    def _waiting(self, found: UsageReport) -> list[UsageReport]:
        return [
            one
            for one in self._siblings(found)
            if one.state is ReportState.DELIVERED and one.verified_at is None
        ]

    def _look(self, found: UsageReport) -> Counter[ConfirmOutcome]:
        now = self._clock.now()
        siblings = self._siblings(found)
        delivered = [one for one in siblings if one.state is ReportState.DELIVERED]
        waiting = [one for one in delivered if one.verified_at is None]
        unsure = any(one.state in _UNSURE and one.maybe_taken for one in siblings)
        ours, theirs = self._compared(found, delivered)
        if agrees(ours, theirs) and not unsure:
            self._confirmations.verify(waiting, now)
            return Counter({ConfirmOutcome.VERIFIED: len(waiting)})
        # only what is old may be missing for good; what is younger may just not be shown yet
        is_old = all((one.settled_at or now) + MISSING_AFTER_US <= now for one in waiting)
        cancelled = taken_back(siblings)  # together with what takes it back, it counts for nothing
        known = {one.id: one.quantity for one in waiting if one.identifier not in cancelled}
        lost = None
        if not unsure and is_old:
            lost = (
                tell_missing(known, ours, theirs)
                if found.level is None
                else _lost_levels(delivered, known, theirs)
            )
        rejected = [
            one
            for one in waiting
            if lost
            and one.id in lost
            and self._confirmations.reject(one.identifier, NOT_COUNTED, now)
        ]
        if not rejected:
            self._confirmations.look_again(waiting, now + LOOK_AGAIN_US)
            return Counter({ConfirmOutcome.NOT_YET: len(waiting)})
        return Counter({ConfirmOutcome.REJECTED: len(rejected)})

    def _compared(
        self, found: UsageReport, delivered: list[UsageReport]
    ) -> tuple[Decimal, Decimal]:
        """Return our figure of the report's period, and Stripe's.

        Where they differ the period may have been cut short since, and another one have begun.
        """
        ours, theirs = self._ours(delivered), self._theirs(found, found.period)
        if agrees(ours, theirs):
            return ours, theirs
        period = last_known_period(self._book, found)
        theirs = self._theirs(found, period)
        if not agrees(ours, theirs):
            lane = [r for r in self._book.reports(found.customer) if r.meter_key == found.meter_key]
            shown = self._ours(shown_in(told_to(None, lane), period))
            # of what lies beyond the end nobody knows whether it counts: it explains a total, and
            # never says that something else is missing
            ours = shown if agrees(shown, theirs) else ours
        return ours, theirs

    def _ours(self, delivered: list[UsageReport]) -> Decimal:
        how = next((one.record_aggregation for one in delivered), None)
        if how is not None:
            return figure_of(how, records_of(delivered))
        return add_all(one.quantity for one in delivered)

    def _theirs(self, found: UsageReport, period: Period) -> Decimal:
        return self._summaries.summarized(
            self._catalog.stripe_meter_ids()[found.meter_key],
            found.stripe_customer_id,
            period,
        )


def _lost_levels(
    delivered: list[UsageReport], old: Mapping[int, Decimal], theirs: Decimal
) -> frozenset[int] | None:
    """Return which of the newest levels are lost, if Stripe shows an earlier one or none."""
    lost: set[int] = set()
    for place in range(len(delivered) - 1, -1, -1):
        if delivered[place].id not in old:
            return None
        lost.add(delivered[place].id)
        shown = delivered[place - 1].level if place else ZERO
        if shown == theirs:
            return frozenset(lost)
    return None
