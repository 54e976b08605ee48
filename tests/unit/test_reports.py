"""Reports: identifiers, timestamps, and quantities that Stripe can take."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US, parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.quantity import DIGITS_MAX, add_all, plain
from tallystick.domain.reports import (
    ParkReason,
    park_reason,
    report_identifier,
    report_timestamp,
    split_for_stripe,
)

MAY = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))
WINDOW = Period(MAY.start_at, parse_instant("2015-05-21"))


def test_the_recipe_of_an_identifier_never_changes() -> None:
    identifier = report_identifier("cus_1", "api_requests", WINDOW, 0, Decimal(482))
    assert identifier == "ts1-b67454e0838630a6a7e2f2a8526533e053ca2e50"


@pytest.mark.parametrize(
    "other",
    [
        ("cus_2", "api_requests", WINDOW, 0, Decimal(482)),
        ("cus_1", "bandwidth_bytes", WINDOW, 0, Decimal(482)),
        ("cus_1", "api_requests", MAY, 0, Decimal(482)),
        ("cus_1", "api_requests", WINDOW, 1, Decimal(482)),
        ("cus_1", "api_requests", WINDOW, 0, Decimal(-482)),
        ("cus_1", "api_requests", WINDOW, 0, Decimal("48.2")),
    ],
)
def test_another_report_has_another_identifier(
    other: tuple[str, str, Period, int, Decimal],
) -> None:
    own = report_identifier("cus_1", "api_requests", WINDOW, 0, Decimal(482))
    assert report_identifier(*other) != own
    assert len(own) <= 100


def test_one_quantity_has_one_identifier_however_it_is_written() -> None:
    spellings = {
        report_identifier("cus_1", "m", WINDOW, 0, Decimal(text))
        for text in ("100", "1E+2", "100.0")
    }
    assert len(spellings) == 1


moments = st.integers(parse_instant("2015-01-01"), parse_instant("2016-01-01"))


@given(
    start=moments,
    length=st.integers(3 * MINUTE_US, 40 * DAY_US),
    share=st.fractions(0, 1),
    later=st.integers(0, 34 * DAY_US),
)
def test_a_timestamp_lies_where_stripe_counts_it_for_its_period_alone(
    start: int, length: int, share: float, later: int
) -> None:
    period = Period(start, start + length)
    as_of = start + max(1, int(length * share))
    now = as_of + later
    timestamp = report_timestamp(period, as_of, now)
    if timestamp is None:
        assert period.end_at < now - 34 * DAY_US
        return
    at = timestamp * SECOND_US
    assert at in period
    assert at // MINUTE_US not in (period.start_at // MINUTE_US, period.end_at // MINUTE_US)
    assert now - 35 * DAY_US <= at <= now + 5 * MINUTE_US


def test_a_timestamp_is_the_last_second_of_what_is_reported() -> None:
    assert report_timestamp(MAY, WINDOW.end_at, WINDOW.end_at) == WINDOW.end_at // SECOND_US - 1


def test_a_period_without_a_whole_minute_of_its_own_has_no_timestamp() -> None:
    start = parse_instant("2015-05-01T00:00:10Z")
    assert report_timestamp(Period(start, start + MINUTE_US), start + 5, start + 5) is None


def test_usage_is_parked_when_its_invoice_is_past_changing() -> None:
    end = MAY.end_at
    assert park_reason(MAY, end - 1) is None
    assert park_reason(MAY, end + HOUR_US - 1) is None
    assert park_reason(MAY, end + HOUR_US) is ParkReason.PERIOD_CLOSED
    assert park_reason(MAY, end + 35 * DAY_US) is ParkReason.TOO_OLD


@given(
    st.builds(
        lambda digits, places: Decimal(digits).scaleb(-places),
        st.integers(-(10**17), 10**17),
        st.integers(0, 12),
    )
)
def test_parts_for_stripe_have_at_most_15_digits_and_add_up(quantity: Decimal) -> None:
    parts = split_for_stripe(quantity)
    assert add_all(parts) == quantity
    for part in parts:
        assert len(plain(part).lstrip("-0.").replace(".", "")) <= DIGITS_MAX
    if len(parts) > 1:
        assert all(parts)
