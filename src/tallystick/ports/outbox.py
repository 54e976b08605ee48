"""What is due to be reported, and the reports that wait for Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from tallystick.domain.periods import Period
    from tallystick.domain.reports import PlannedReport, ReportState, UsageReport


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


class Claim(NamedTuple):
    """A report leased to one worker; ``token`` proves it and is refused once another took over."""

    report: UsageReport
    token: int


class Settlement(NamedTuple):
    """What an attempt led to; for a pending report ``retry_at`` says when to try again.

    ``maybe_taken`` stays set while an attempt's outcome is unknown.
    """

    state: ReportState
    reason: str | None = None
    retry_at: int | None = None
    maybe_taken: bool = False


class ReportBook(Protocol):
    """Which usage is due, and what was reported of it."""

    def notice(self, limit: int) -> int:
        """Mark what the next stored events touch as due; return how many events were looked at."""
        ...

    def due(self, after: Due | None, limit: int) -> list[Due]:
        """Return what is due, in order of customer and meter, from beyond ``after``."""
        ...

    def reported(self, customer: str, meter_key: str, period: Period) -> Reported:
        """Return what the reports of the period add up to."""
        ...

    def record(
        self, due: Due, reports: Sequence[PlannedReport], now: int, *, still_due: bool
    ) -> bool:
        """Write planned reports to the outbox and say whether more of this will be due.

        All or nothing. False if another process planned the same sequence first: nothing was
        written then. It stays due too where more events were noticed since ``due`` was read.
        """
        ...

    def reports(self, customer: str | None = None) -> list[UsageReport]:
        """Return reports, all or one customer's, oldest first."""
        ...


class Outbox(Protocol):
    """Reports on their way to Stripe."""

    def claim(self, now: int, lease_us: int, limit: int) -> list[Claim]:
        """Lease the next reports that may be tried, one at most per customer and meter.

        The attempt is counted, and the time of the first one kept, before this returns: whatever
        happens next, the report is known to have been tried.
        """
        ...

    def settle(self, claim: Claim, settlement: Settlement, now: int) -> None:
        """Write the outcome of an attempt and end the lease.

        Raises:
            LeaseLost: the lease ran out and another worker has the report.
        """
        ...

    def next_attempt_at(self) -> int | None:
        """Return when the next pending report may be tried, or None if none is pending."""
        ...

    def counts(self) -> dict[str, int]:
        """Return how many reports are in each state."""
        ...
