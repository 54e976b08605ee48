"""Spend caps."""

from __future__ import annotations

import pytest

from tallystick.domain.rating.spend_caps import SpendCap, cap_spend, left_below_cap

CAP = SpendCap(5_000, "usd")


def test_what_lies_above_the_cap_is_taken_back() -> None:
    line = cap_spend(CAP, 7_250)
    assert line is not None
    assert line.amount_minor == -2_250
    assert line.description == "Spend cap of $50.00"


@pytest.mark.parametrize(("charged", "left"), [(0, 5_000), (4_999, 1), (5_000, 0)])
def test_charges_within_the_cap_are_left_alone(charged: int, left: int) -> None:
    assert cap_spend(CAP, charged) is None
    assert left == left_below_cap(CAP, charged)


def test_nothing_is_left_above_the_cap() -> None:
    assert left_below_cap(CAP, 9_000) == 0


def test_a_negative_cap_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        SpendCap(-1, "usd")
