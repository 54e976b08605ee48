"""What is due to be reported, and the reports that wait for Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tallystick.domain.reports import Step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from tallystick.domain.periods import Period
    from tallystick.domain.reports import PlannedReport, ReportState, StrayReason, UsageReport
    from tallystick.domain.usage_records import RecordAggregation


class Due(NamedTuple):
    """A customer and meter with usage that may not be reported yet.

    ``mark`` changes whenever it is marked anew.
    """

    customer: str
    meter_key: str
    mark: int


class Reported(NamedTuple):
    """What is accounted for in one billing period, by reports in whatever state."""

    quantity: Decimal
    next_sequence: int


class Stray(NamedTuple):
    """A report, as it was read, that is to count no more where it was made for, and why."""

    report: UsageReport
    reason: StrayReason


class StandIn(NamedTuple):
    """A report that stands for one that Stripe has under another name, or may have.

    Its state is ``delivered``, ``waived`` or ``pending``; at ``resolve_at`` the totals are asked
    whether the one that a pending one stands for arrived. Without, it is sent.
    """

    report: PlannedReport
    resolve_at: int | None = None


class SortedPeriod(NamedTuple):
    """A period that reports were sorted into, and the sequence of the next one there.

    ``stripe_item_id`` is the item that the newest of them was told to, None for the meter, and
    ``record_aggregation`` how Stripe added up its records, or levels, then.
    """

    period: Period
    next_sequence: int
    stripe_item_id: str | None = None
    record_aggregation: RecordAggregation | None = None


class Rearrangement(NamedTuple):
    """What becomes of a customer's and meter's reports once their periods are known better.

    ``periods`` are those that were looked at, with the ends that they have by now, each with the
    sequence that was read before.
    """

    customer: str
    stripe_customer_id: str
    meter_key: str
    periods: tuple[SortedPeriod, ...]
    strays: tuple[Stray, ...]
    stand_ins: tuple[StandIn, ...]


class Claim(NamedTuple):
    """A report leased to one worker, as it was before; ``token`` proves the lease.

    The token is refused once another worker took over.
    """

    report: UsageReport
    token: int


class Settlement(NamedTuple):
    """What an attempt led to.

    ``wake_at`` is when to try a pending report again, or to look whether Stripe counted a delivered
    one. ``maybe_taken`` stays set while an attempt's outcome is unknown; without it the next
    attempt counts as the first. A report that becomes ``replaced`` counts no more, and its usage is
    due again.
    """

    state: ReportState
    reason: str | None = None
    wake_at: int | None = None
    maybe_taken: bool = False
    step: Step = Step.SEND


class Outcome(NamedTuple):
    """A claim and what it led to."""

    claim: Claim
    settlement: Settlement


class Depth(NamedTuple):
    """How much is on its way.

    ``pending`` and ``unverified`` count reports; ``oldest_at`` is when the oldest pending one was
    planned, ``closes_at`` when the first of them is too late, ``unverified_since`` when the oldest
    was delivered that Stripe's totals did not confirm yet.
    """

    pending: int
    oldest_at: int | None
    closes_at: int | None
    unverified: int
    unverified_since: int | None


class ReportBook(Protocol):
    """Which usage is due, and what was reported of it."""

    def notice(self, limit: int) -> int:
        """Mark what the next stored events touch as due; return how many events were looked at."""
        ...

    def due(self, after: Due | None, now: int | None, limit: int) -> list[Due]:
        """Return what is due, in order of customer and meter, from beyond ``after``.

        What waits for its batch is left out before its time, or taken too if ``now`` is None.
        """
        ...

    def reported(self, customer: str, meter_key: str, period: Period) -> Reported:
        """Return what the reports of the period add up to, those left out that were replaced.

        A running total: it costs the same however many reports there are.
        """
        ...

    def record(
        self, due: Due, reports: Sequence[PlannedReport], now: int, *, due_again_at: int | None
    ) -> bool:
        """Write planned reports to the outbox and say when more of this will be due, if so.

        All or nothing. False if another process planned the same sequence first, or knows that a
        period ended at another instant: nothing was written then. It stays due too where it was
        marked anew since ``due`` was read. Where that mark is gone by now, what was written may
        rest on less than another process knew, and it is due at once.
        """
        ...

    def reports(self, customer: str | None = None) -> list[UsageReport]:
        """Return reports, all or one customer's, oldest first."""
        ...

    def of_period(self, customer: str, meter_key: str, period: Period) -> list[UsageReport]:
        """Return the reports of one customer, meter and billing period, by sequence."""
        ...

    def strays(self, customer: str, meter_key: str) -> list[UsageReport]:
        """Return the reports that Stripe has, or may have, and bills nowhere, oldest first."""
        ...


class PeriodBook(Protocol):
    """Into which billing periods reports were sorted, and how they are sorted anew."""

    def periods(self, customer: str, meter_key: str) -> list[SortedPeriod]:
        """Return every period that has reports, as the newest of them has it, oldest first."""
        ...

    def reported_until(self, customer: str, meter_key: str, period: Period) -> int | None:
        """Return up to which instant the newest report tells of the period, None without any."""
        ...

    def rearrange(self, changes: Rearrangement, now: int) -> bool:
        """Sort reports anew: strays count no more, and a lease of theirs is lost.

        All or nothing. False if a stray is not as it was read any more, or a sequence is taken, in
        a period that was looked at too: a report that nobody looked at may not belong there.
        What is still to be sent in a period whose end moved is as urgent as the new end makes it.
        """
        ...


class Outbox(Protocol):
    """Reports on their way to Stripe."""

    def claim(self, now: int, lease_us: int, limit: int) -> list[Claim]:
        """Lease the next reports that may be tried, one at most per customer and meter.

        What Stripe stops billing first comes first; among equals, who has waited longest. The
        attempt is counted, and the time of the first one kept, before this returns: whatever
        happens next, the report is known to have been tried.
        """
        ...

    def settle(self, outcomes: Sequence[Outcome], now: int) -> list[Claim]:
        """Write outcomes, all in one transaction, and end the leases.

        Returns the claims whose lease was lost: another worker has the report, and nothing was
        written for these.
        """
        ...

    def next_attempt_at(self) -> int | None:
        """Return when the next pending report may be tried, or None if none is pending.

        0 if one may be tried already.
        """
        ...

    def counts(self) -> dict[str, int]:
        """Return how many reports are in each state."""
        ...

    def depth(self) -> Depth:
        """Return how much waits, and since when."""
        ...


class Confirmations(Protocol):
    """Delivered reports that Stripe's totals have not confirmed yet."""

    def next_unverified(self, now: int) -> UsageReport | None:
        """Return a delivered report whose period is to be looked at now, if there is one."""
        ...

    def verify(self, reports: Sequence[UsageReport], now: int) -> None:
        """Write down that Stripe counts the reports."""
        ...

    def look_again(self, reports: Sequence[UsageReport], at: int) -> None:
        """Put off the reports until then."""
        ...

    def leave(self, reports: Sequence[UsageReport], reason: str) -> None:
        """Look for the reports no more: delivered, and for this reason never verified."""
        ...

    def reject(self, identifier: str, reason: str, now: int) -> bool:
        """Mark a report dead that Stripe took and did not count; False if there is no such one.

        A report that is dead or replaced already is left as it is, and so is one that is verified,
        because a total had it, and one that another report takes back: the two count for nothing
        together. A pending one may be rejected: its answer was lost, and Stripe's later word is the
        outcome.
        """
        ...

    def errors_read(self) -> int:
        """Return up to which ``seq`` Stripe's error reports were matched with ours."""
        ...

    def mark_errors_read(self, seq: int) -> None:
        """Write down that they were, up to ``seq``."""
        ...


class StuckFilter(NamedTuple):
    """Which stuck reports are meant; a field that is None does not restrict."""

    state: ReportState | None = None
    customer: str | None = None
    meter_key: str | None = None
    reason: str | None = None
    """How the reason begins."""


class Decision(NamedTuple):
    """What a person decided about a stuck report, for the record."""

    actor: str
    reason: str
    at: int


class StuckReports(Protocol):
    """Reports that only a person, or a policy, moves on: dead, unresolved and parked ones."""

    def find(self, chosen: StuckFilter, after_id: int, limit: int) -> list[UsageReport]:
        """Return stuck reports in the order of their ids, from beyond ``after_id``."""
        ...

    def count(self, chosen: StuckFilter) -> int:
        """Return how many there are."""
        ...

    def get(self, report_id: int) -> UsageReport | None:
        """Return a report in whatever state."""
        ...

    def replace(
        self, report: UsageReport, planned: PlannedReport | None, decision: Decision
    ) -> bool:
        """Put a new report in the place of a stuck one; without one, mark its usage due again.

        All or nothing. False if it is stuck no more, the sequence is taken by now, or its period
        is known to have ended at another instant.
        """
        ...

    def close(self, report: UsageReport, state: ReportState, decision: Decision) -> bool:
        """End a stuck report as delivered or waived; False if it is stuck no more."""
        ...

    def decisions(self, report_id: int) -> list[tuple[str, Decision]]:
        """Return what was decided about a report, oldest first, each with the action's name."""
        ...
