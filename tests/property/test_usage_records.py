"""Usage records: whatever is measured, Stripe's figure of the records becomes it."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.quantity import add_all
from tallystick.domain.usage_records import (
    RecordAggregation,
    RecordChange,
    figure_of,
    plan_changes,
    plan_increments,
)

SPAN_START = 1_000


@given(
    how=st.sampled_from(RecordAggregation),
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=12),
)
def test_each_step_brings_stripes_figure_to_the_measured_one(
    how: RecordAggregation, steps: list[tuple[int, int]]
) -> None:
    records: dict[int, Decimal] = {}
    latest = SPAN_START + 20
    for measured, passed in steps:
        latest += passed
        before = figure_of(how, records)
        changes = plan_changes(how, Decimal(measured), records, (SPAN_START, latest))
        for change in changes:
            figure = figure_of(how, records)
            records[change.timestamp] = change.level
            assert change.level >= 0
            assert SPAN_START <= change.timestamp <= latest
            assert figure_of(how, records) - figure == change.difference
            # a repeat overwrites itself
            assert figure_of(how, {**records, change.timestamp: change.level}) == figure_of(
                how, records
            )
        assert figure_of(how, records) == measured
        assert add_all(change.difference for change in changes) == measured - before


@given(how=st.sampled_from(RecordAggregation), at=st.integers(1, 99))
def test_what_no_record_can_show_is_left_alone(how: RecordAggregation, at: int) -> None:
    records = {at: Decimal(5)}
    for measured in (Decimal(-1), Decimal("5.5")):
        assert plan_changes(how, measured, records, (1, 100)) == []
        assert plan_increments(how, measured, records, (1, 100)) == []


@given(how=st.sampled_from(RecordAggregation), at=st.integers(1, 100))
def test_a_figure_that_is_right_is_set_once_more(how: RecordAggregation, at: int) -> None:
    records = {at: Decimal(5)}
    again = RecordChange(at, Decimal(5), Decimal(0))
    assert plan_changes(how, Decimal(5), records, (1, 100)) == [again]


@given(
    how=st.sampled_from(RecordAggregation),
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=12),
)
def test_what_is_only_added_to_touches_no_record(
    how: RecordAggregation, steps: list[tuple[int, int]]
) -> None:
    records: dict[int, Decimal] = {}
    latest = SPAN_START + 20
    for measured, passed in steps:
        latest += passed
        changes = plan_increments(how, Decimal(measured), records, (SPAN_START, latest))
        for change in changes:
            assert change.timestamp not in records
            assert SPAN_START <= change.timestamp <= latest
            before = figure_of(how, records)
            records[change.timestamp] = change.level
            assert figure_of(how, records) - before == change.difference
        if changes:
            assert figure_of(how, records) == measured


@given(levels=st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_a_new_rise_never_touches_a_second_that_another_report_has(levels: list[int]) -> None:
    for how in (RecordAggregation.SUM, RecordAggregation.MAX):
        records = {100 + n: Decimal(level) for n, level in enumerate(levels)}
        goal = figure_of(how, records) + 1
        (change,) = plan_changes(how, goal, records, (90, 100 + len(levels) - 1))
        assert change.timestamp not in records
