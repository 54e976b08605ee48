"""The one door through which money is rounded, for decimals and for fractions alike."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from tallystick.domain.money import Rounding, round_to_minor

TABLE: list[tuple[str, int, int, int, int]] = [
    # amount, half up, half even, half floor, floor
    ("0", 0, 0, 0, 0),
    ("0.49", 0, 0, 0, 0),
    ("0.5", 1, 0, 0, 0),
    ("0.51", 1, 1, 1, 0),
    ("1.5", 2, 2, 1, 1),
    ("2.5", 3, 2, 2, 2),
    ("-0.5", -1, 0, -1, -1),
    ("-0.49", 0, 0, 0, -1),
    ("-1.5", -2, -2, -2, -2),
    ("-2.5", -3, -2, -3, -3),
    ("-2.51", -3, -3, -3, -3),
    ("7", 7, 7, 7, 7),
]


@pytest.mark.parametrize(("amount", "half_up", "half_even", "half_floor", "floor"), TABLE)
def test_each_mode_rounds_as_its_name_says(
    amount: str, half_up: int, half_even: int, half_floor: int, floor: int
) -> None:
    expected = {
        Rounding.HALF_UP: half_up,
        Rounding.HALF_EVEN: half_even,
        Rounding.HALF_FLOOR: half_floor,
        Rounding.FLOOR: floor,
    }
    for mode in Rounding:
        assert expected[mode] == round_to_minor(Decimal(amount), mode)
        assert expected[mode] == round_to_minor(Fraction(amount), mode)


def test_a_third_is_rounded_without_ever_being_a_decimal() -> None:
    assert round_to_minor(Fraction(1, 3), Rounding.HALF_UP) == 0
    assert round_to_minor(Fraction(2, 3), Rounding.HALF_UP) == 1
    assert round_to_minor(Fraction(-2, 3), Rounding.HALF_FLOOR) == -1
