"""Quantities: exact, within limits, in plain notation."""

from __future__ import annotations

from decimal import Decimal, FloatOperation, Inexact

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.quantity import (
    DECIMALS_MAX,
    DIGITS_MAX,
    PICO,
    QuantityError,
    add_all,
    agrees,
    decimals_of,
    exact,
    from_parts,
    parse_quantity,
    plain,
    to_parts,
)

values = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(-(10**DIGITS_MAX) + 1, 10**DIGITS_MAX - 1),
    st.integers(0, DECIMALS_MAX),
)


@given(values)
def test_a_value_within_the_limits_is_read_exactly_from_any_notation(value: Decimal) -> None:
    for written in (str(value), format(value, "f"), format(value, "E"), value):
        assert parse_quantity(written) == value


@given(values)
def test_parts_come_together_again(value: Decimal) -> None:
    whole, pico = to_parts(value)
    assert 0 <= pico < PICO
    assert from_parts(whole, pico) == value


@given(st.lists(values, max_size=20))
def test_adding_parts_is_adding_values(numbers: list[Decimal]) -> None:
    parts = [to_parts(number) for number in numbers]
    summed = from_parts(sum(whole for whole, _ in parts), sum(pico for _, pico in parts))
    assert summed == add_all(numbers)


@given(values)
def test_plain_notation_has_no_exponent_and_reads_back(value: Decimal) -> None:
    text = plain(value)
    assert Decimal(text) == value
    assert set(text) <= set("-0123456789.")
    assert "." not in text or not text.endswith("0")
    assert decimals_of(value) == len(text.partition(".")[2])


@pytest.mark.parametrize(
    ("number", "shown"),
    [("1E+2", "100"), ("1E-12", "0.000000000001"), ("-0.0", "0"), ("0.50", "0.5"), ("-7", "-7")],
)
def test_plain_notation_of_what_str_would_write_otherwise(number: str, shown: str) -> None:
    assert plain(Decimal(number)) == shown


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("NaN", "value_not_finite"),
        ("sNaN", "value_not_finite"),
        ("-inf", "value_not_finite"),
        ("", "value_not_a_number"),
        ("1,5", "value_not_a_number"),
        (True, "value_not_a_number"),
        ("1234567890123456", "value_too_many_digits"),
        (10**15, "value_too_many_digits"),
        ("123456789012345.6", "value_too_many_digits"),
        ("1e15", "value_too_many_digits"),
        ("0.0000000000001", "value_too_many_decimals"),
    ],
)
def test_what_no_meter_event_can_carry_is_refused_by_name(value: str | int, code: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_quantity(value)
    assert code == caught.value.code


@pytest.mark.parametrize(
    "value", ["999999999999999", "0.000000000001", "999.999999999999", "1.50000000000000000000"]
)
def test_the_limits_themselves_are_taken(value: str) -> None:
    assert parse_quantity(value) == Decimal(value)


def test_nothing_is_rounded_and_no_float_gets_in() -> None:
    with exact():
        with pytest.raises(Inexact):
            Decimal(1) / Decimal(3)
        with pytest.raises(FloatOperation):
            Decimal(0.1)  # noqa: RUF032 - the float is what is tested


@given(st.decimals(min_value=-(10**18), max_value=10**18, places=12))
def test_a_figure_agrees_with_its_neighbourhood_among_doubles(figure: Decimal) -> None:
    assert agrees(figure, Decimal(str(float(figure))))


@given(st.integers(0, 10**15 - 1), st.integers(0, 12))
def test_a_figure_of_at_most_15_digits_agrees_with_no_other(digits: int, places: int) -> None:
    figure, next_one = (Decimal(each).scaleb(-places) for each in (digits, digits + 1))
    assert agrees(figure, figure)
    assert not agrees(figure, next_one)
    assert not agrees(next_one, figure)
    assert not agrees(-figure, -next_one)
