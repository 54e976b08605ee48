"""Half-open periods and how they are cut at hours."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.instants import (
    DAY_US,
    HOUR_US,
    format_instant,
    from_datetime,
    parse_instant,
    to_datetime,
)
from tallystick.domain.periods import Period, cut_at_hours
from tallystick.domain.usage_windows import WindowSize, window_of

instants = st.integers(-(10**14), 10**16)
periods = st.builds(
    lambda start, length: Period(start, start + length), instants, st.integers(1, 90 * DAY_US)
)


@given(periods)
def test_the_pieces_of_a_cut_are_the_period(period: Period) -> None:
    cut = cut_at_hours(period)
    pieces = sorted([*cut.ends, *([cut.whole_hours] if cut.whole_hours else [])])
    assert pieces[0].start_at == period.start_at
    assert pieces[-1].end_at == period.end_at
    for earlier, later in pairwise(pieces):
        assert earlier.end_at == later.start_at
    if cut.whole_hours:
        assert cut.whole_hours.start_at % HOUR_US == cut.whole_hours.end_at % HOUR_US == 0
    for end in cut.ends:
        assert end.end_at - end.start_at < HOUR_US


def test_a_period_inside_one_hour_has_no_whole_hour() -> None:
    period = Period(HOUR_US + 1, HOUR_US + 2)
    assert cut_at_hours(period).whole_hours is None
    assert cut_at_hours(period).ends == (period,)


def test_a_period_includes_its_start_and_not_its_end() -> None:
    period = Period(10, 20)
    assert 10 in period
    assert 19 in period
    assert 20 not in period


def test_an_empty_period_is_refused() -> None:
    with pytest.raises(ValueError, match="ends after it starts"):
        Period(10, 10)


@given(instants)
def test_instants_are_spelled_and_read_without_loss(at: int) -> None:
    assert parse_instant(format_instant(at)) == at
    assert from_datetime(to_datetime(at)) == at


def test_a_date_is_its_midnight_in_utc_and_a_time_needs_an_offset() -> None:
    assert parse_instant("1970-01-02") == DAY_US
    assert parse_instant("1970-01-02T02:00:00+02:00") == DAY_US
    with pytest.raises(ValueError, match="offset"):
        parse_instant("1970-01-02T00:00:00")


@given(instants, st.sampled_from(WindowSize))
def test_an_instant_lies_in_its_window_and_windows_adjoin(at: int, size: WindowSize) -> None:
    window = window_of(at, size)
    assert at in window
    assert window_of(window.end_at, size).start_at == window.end_at
    assert window_of(window.end_at - 1, size) == window


def test_months_have_their_own_lengths() -> None:
    february = window_of(parse_instant("2016-02-29T23:59:59Z"), WindowSize.MONTH)
    assert format_instant(february.start_at) == "2016-02-01T00:00:00Z"
    assert format_instant(february.end_at) == "2016-03-01T00:00:00Z"
    december = window_of(parse_instant("2015-12-31"), WindowSize.MONTH)
    assert format_instant(december.end_at) == "2016-01-01T00:00:00Z"
