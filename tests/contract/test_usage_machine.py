"""Whatever happens to events, live usage equals a plain recount: for every aggregation.

Hypothesis appends, imports, repeats, contradicts, delays, voids, replaces, rolls days up, crashes
and reopens at random.
"""

from __future__ import annotations

import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US
from tallystick.domain.meters import Aggregation, Meter, PropertyFilter
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.storage.postgres import day_rollups as postgres_day_rollups
from tallystick.storage.sqlite import day_rollups as sqlite_day_rollups
from tallystick.storage.sqlite import identities, rollups
from tests.contract.backends import BACKENDS, NOW, Backend, put_in_force
from tests.contract.plain_recount import Counted, recount
from tests.fixtures.meters import OF_EACH_AGGREGATION

START = NOW - 10 * HOUR_US  # so that a day ends in the middle
CUSTOMERS = ("acme", "bolt")
METERS = [
    *OF_EACH_AGGREGATION,
    Meter("m_eu", "", "seen", Aggregation.SUM, 3, filters=(PropertyFilter("region", ("eu",)),)),
    Meter("m_groups", "", "seen", Aggregation.SUM, 3, group_by=("region",)),
]
RECEIVED_AT = (START, START + 90 * MINUTE_US, NOW)
"""When events are stored: before and after some of the periods begin."""
EXAMPLES = {"sqlite": 25, "postgres": 3}
"""A step asks some thousand questions, each of which is a round trip to PostgreSQL."""

PERIODS = (
    Period(START, START + 4 * HOUR_US),
    Period(START + 17 * MINUTE_US + 1, START + 3 * HOUR_US + 59 * MINUTE_US),
    Period(START + HOUR_US + 5, START + HOUR_US + 40 * MINUTE_US),
    Period(START + 3 * HOUR_US, START + 5 * HOUR_US),
    Period(START - 3 * DAY_US, START + 3 * DAY_US),
    Period(START - 22 * HOUR_US - 1, START + 3 * HOUR_US + 7 * MINUTE_US),
)

values = st.integers(-2_000, 9_000).map(lambda milli: Decimal(milli).scaleb(-3))
instants = st.integers(0, 4 * 60 * 6).map(lambda tens: START + tens * 10_000_000)
properties = st.sampled_from(
    [b"", b'{"region":"eu","user":"u1"}', b'{"user":"u2"}', b'{"user":"u1","region":"us"}']
)


def id_of(number: int) -> str:
    """Return an id: of both kinds, in turns, that SQLite keeps in ways of their own."""
    return f"0192f3a4-b5c6-7d00-8000-{number:012x}" if number % 2 else str(number)


ids = st.integers(0, 60).map(id_of)

new_events = st.builds(
    UsageEvent,
    source=st.just("s"),
    id=ids,
    type=st.just("seen"),
    customer=st.sampled_from(CUSTOMERS),
    occurred_at=instants,
    value=values,
    properties=properties,
)


class UsageMachine(RuleBasedStateMachine):
    """The store beside a model that is nothing but the list of what was acknowledged."""

    kind = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._small = [  # so that merges and a full memory happen in a run this short
            mock.patch.object(identities, "GATHERED_MAX", 6),
            mock.patch.object(identities, "STEP", 2),
            mock.patch.object(identities, "MERGED_PER_EVENT", 1),
            mock.patch.object(rollups, "CELLS_MAX", 4),
            mock.patch.object(sqlite_day_rollups, "CUSTOMERS_AT_ONCE", 1),
            mock.patch.object(postgres_day_rollups, "CUSTOMERS_AT_ONCE", 1),
        ]
        for patch in self._small:
            patch.start()
        self.backend: Backend = BACKENDS[self.kind](Path(self._folder.name))
        put_in_force(self.backend.product, METERS)
        self.stored: dict[str, UsageEvent] = {}
        self.counts_for: dict[str, Decimal | None] = {}
        self.imported_at: dict[str, int] = {}

    @rule(
        batch=st.lists(new_events, min_size=1, max_size=8),
        received_at=st.sampled_from(RECEIVED_AT),
        is_history=st.booleans(),
    )
    def append(self, batch: list[UsageEvent], received_at: int, is_history: bool) -> None:
        """Append events; ids come again, with the same content or another, as history or not."""
        expected = []
        for event in batch:
            earlier = self.stored.setdefault(event.id, event)
            if earlier is event:
                self.counts_for[event.id] = event.value
                if is_history:
                    self.imported_at[event.id] = received_at
                expected.append(EventStatus.ACCEPTED)
            else:
                same = earlier == event
                expected.append(EventStatus.DUPLICATE if same else EventStatus.CONFLICT)
        events = self.backend.product.events
        assert expected == events.append(batch, received_at, is_history=is_history).result()

    @rule(is_history=st.booleans())
    def repeat_everything(self, is_history: bool) -> None:
        """Send all that was stored once more: what is history stays it, what is not never is."""
        again = list(self.stored.values())
        events = self.backend.product.events
        statuses = events.append(again, NOW, is_history=is_history).result() if again else []
        assert statuses == [EventStatus.DUPLICATE] * len(again)

    @rule(event_id=ids, value=st.none() | values)
    def correct(self, event_id: str, value: Decimal | None) -> None:
        """Void an event or replace its value."""
        correction = Correction("s", event_id, value, "ann", "a test")
        (status,) = self.backend.product.events.correct([correction], NOW).result()
        if event_id not in self.stored:
            assert status is CorrectionStatus.NOT_FOUND
        elif self.counts_for[event_id] == value:
            assert status is CorrectionStatus.UNCHANGED
        else:
            assert status is CorrectionStatus.CORRECTED
            self.counts_for[event_id] = value

    @rule(steps=st.integers(1, 40))
    def roll_days(self, steps: int) -> None:
        """Roll both days up, today as well, or only some customers and meters of them."""
        rolling = self.backend.product.day_rollups
        rolling.begin(NOW + DAY_US)
        for _ in range(steps):
            rolling.step()

    @rule()
    def crash(self) -> None:
        """Lose the writer's memory."""
        self.backend.crash()

    @rule()
    def reopen(self) -> None:
        """Stop and start."""
        self.backend.reopen()

    @invariant()
    def usage_is_a_recount(self) -> None:
        """Compare every meter, customer and period."""
        reader = self.backend.product.usage
        for customer in CUSTOMERS:
            for meter in METERS:
                events = self._counted(meter, customer)
                for period in PERIODS:
                    state = reader.usage(meter, customer, period)
                    expected = recount(meter.aggregation, events, period.start_at, period.end_at)
                    shown = Fraction(quantity_of(state, meter.aggregation))
                    assert expected == shown, (meter.key, customer, str(period))
                    both = reader.usage_and_history(meter, customer, period)
                    assert state == both.usage
                    imported = self._history(events, period)
                    history = recount(meter.aggregation, imported, period.start_at, period.end_at)
                    reportable = Fraction(both.reportable(meter.aggregation))
                    assert expected - history == reportable, (meter.key, customer, str(period))

    def _counted(self, meter: Meter, customer: str) -> list[Counted]:
        counted = []
        for order, (event_id, event) in enumerate(self.stored.items()):
            value = self.counts_for[event_id]
            text = event.properties.decode()
            user = next((user for user in ("u1", "u2") if user in text), None)
            if event.customer != customer or value is None:
                continue
            if meter.key != "m_eu" or '"eu"' in text:
                imported_at = self.imported_at.get(event_id)
                counted.append(
                    Counted(event.occurred_at, order, Fraction(value), user, imported_at)
                )
        return counted

    @staticmethod
    def _history(events: list[Counted], period: Period) -> list[Counted]:
        """Return the history, without a level from before the period that it had left by then."""
        imported = [event for event in events if event.imported_at is not None]
        before = [event for event in imported if event.at < period.start_at]
        if not before:
            return imported
        latest = max(before, key=lambda event: (event.at, event.order))
        assert latest.imported_at is not None
        if latest.imported_at >= period.start_at:
            return imported
        return [event for event in imported if event.at >= period.start_at]

    def teardown(self) -> None:
        """Check the invariants as an operator would, and leave nothing."""
        product = self.backend.product
        with product.snapshots.snapshot() as snapshot:
            checks = check_store(snapshot, product.catalog.meters())
        assert [finding for check in checks for finding in check.findings] == []
        self.backend.close()
        for patch in self._small:
            patch.stop()
        self._folder.cleanup()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", BACKENDS)
def test_live_usage_equals_a_recount_whatever_happens(name: str) -> None:
    machine = type("Machine", (UsageMachine,), {"kind": name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES[name],
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
