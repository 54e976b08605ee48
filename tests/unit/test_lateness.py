"""Lateness: delays as they are counted, and what they come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.instants import DAY_US, parse_instant
from tallystick.domain.lateness import (
    AHEAD,
    LATE_AFTER_MS,
    Delays,
    Lateness,
    bound_ms,
    delay_ms,
    lateness_of,
    percentile_ms,
)
from tallystick.oversight.lateness_view import days_between

delays_us = st.one_of(
    st.integers(-(10**10), 10**16),
    st.integers(0, 16).flatmap(lambda power: st.integers(10**power - 2, 10**power + 2)),
)


@given(delays_us)
def test_a_delay_is_counted_within_a_tenth(late_us: int) -> None:
    lower = delay_ms(0, late_us)
    if late_us < 0:
        assert lower == AHEAD
        assert bound_ms(lower) == 0
    else:
        assert lower <= late_us // 1_000 < bound_ms(lower)
        assert (bound_ms(lower) - lower) * 10 <= max(lower, 10)
        assert delay_ms(0, lower * 1_000) == lower


@given(st.integers(-(10**10), 10**16))
def test_an_event_is_late_exactly_from_an_hour_on(late_us: int) -> None:
    counted = lateness_of(Delays([delay_ms(0, late_us)]))
    assert (counted.late == 1) == (late_us >= 3_600_000_000)
    assert (counted.ahead == 1) == (late_us < 0)


@given(st.lists(delays_us, min_size=1, max_size=200), st.integers(1, 100))
def test_a_percentile_is_the_least_bound_that_enough_events_stay_below(
    late_us: list[int], percent: int
) -> None:
    found = percentile_ms(Delays(delay_ms(0, each) for each in late_us), percent)
    assert found is not None
    below = sum(each // 1_000 < found for each in late_us)
    assert below * 100 >= percent * len(late_us)
    ranked = sorted(late_us)[-(-percent * len(late_us) // 100) - 1]
    assert found == bound_ms(delay_ms(0, ranked))


@given(st.lists(delays_us), st.lists(delays_us))
def test_delays_of_two_sets_merge_by_addition(one: list[int], other: list[int]) -> None:
    apart = [Delays(delay_ms(0, each) for each in part) for part in (one, other)]
    assert Delays(delay_ms(0, each) for each in one + other) == apart[0] + apart[1]


def test_there_is_no_percentile_of_nothing() -> None:
    assert lateness_of(Delays()) == Lateness(0, 0, 0, None, None)
    assert LATE_AFTER_MS == 3_600_000


def test_days_are_whole_and_the_last_thirty_unless_named() -> None:
    now = parse_instant("2026-11-22T10:00:00Z")
    usual = days_between(None, None, now)
    assert usual.end_at == parse_instant("2026-11-23")
    assert usual.end_at - usual.start_at == 30 * DAY_US
    named = days_between("2026-10-01", "2026-11-01T00:00:00Z", now)
    assert named.start_at == parse_instant("2026-10-01")
    with pytest.raises(ValueError, match="is not a day's beginning in UTC"):
        days_between("2026-10-01T01:00:00Z", None, now)
    with pytest.raises(ValueError, match="a period ends after it starts"):
        days_between("2026-10-02", "2026-10-02", now)
    with pytest.raises(ValueError, match="'x'"):
        days_between("x", None, now)
