"""Whatever happens to events, and whichever of them leave for the archive and come back: live usage
equals a plain recount, for every aggregation, and each id is still known.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tallystick.domain.instants import DAY_US
from tests.contract.archiving import EndedEarly, archive_everything, archiver_of
from tests.contract.backends import BACKENDS, NOW
from tests.contract.test_usage_machine import CUSTOMERS, EXAMPLES, UsageMachine

LATER_US = 9 * DAY_US
"""When every event that the machine stores is old enough to leave."""


class ArchiveMachine(UsageMachine):
    """The usage machine over a store whose days leave and come back."""

    @rule(held=st.sets(st.sampled_from(CUSTOMERS), max_size=1))
    def archive(self, held: set[str]) -> None:
        """Let the days leave; nobody's events, or one customer's, are held."""
        done = archive_everything(self.backend.product, held, later_us=LATER_US)
        assert [each.findings for each in done if each.failures] == []

    @rule()
    def end_early(self) -> None:
        """End a run while it deletes what it wrote down."""
        archiver = archiver_of(self.backend.product, kind=EndedEarly, later_us=LATER_US)
        archiver_of(self.backend.product).finish()
        for day_at in archiver.days():
            try:
                archiver.archive(day_at)
            except InterruptedError:
                return

    @rule()
    def verify(self) -> None:
        """Check what is archived."""
        archiver = archiver_of(self.backend.product)
        for day_at in archiver.archived_days(0, NOW):
            assert archiver.check(day_at).findings == ()

    @rule()
    def restore(self) -> None:
        """Put the first archived day back."""
        archiver = archiver_of(self.backend.product)
        for day_at in archiver.archived_days(0, NOW)[:1]:
            assert archiver.restore(day_at).findings == ()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", BACKENDS)
def test_archived_events_count_and_are_known_as_others_are(name: str) -> None:
    machine = type("Machine", (ArchiveMachine,), {"kind": name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES[name],
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
