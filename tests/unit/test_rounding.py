"""The one door through which money is rounded, for decimals and for fractions alike."""

from __future__ import annotations

import ast
from decimal import Decimal, FloatOperation, Inexact
from fractions import Fraction
from pathlib import Path

import pytest

import tallystick.domain
from tallystick.domain.money import Rounding, round_to_minor
from tallystick.domain.quantity import exact

DOMAIN = Path(tallystick.domain.__file__).parent
DOORS = {"money.py", "quantity.py"}
"""Where a decimal may become an integer: money's one door, and how a quantity is stored."""

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


def test_nothing_inexact_and_no_float_gets_through_the_context() -> None:
    with exact(), pytest.raises(Inexact):
        Decimal(1) / Decimal(3)
    a_tenth = 1 / 10
    with exact(), pytest.raises(FloatOperation):
        Decimal(a_tenth)


def _rounds(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in {"round", "float"}
    return isinstance(call.func, ast.Attribute) and (
        call.func.attr.startswith("to_integral") or call.func.attr in {"quantize", "round"}
    )


def test_no_other_file_of_the_domain_rounds_or_makes_a_float() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted(DOMAIN.rglob("*.py"))
        if path.name not in DOORS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _rounds(node)
    ]
    assert found == []
