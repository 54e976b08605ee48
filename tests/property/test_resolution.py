"""Resolve before resend: the arithmetic that tells which attempts arrived."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.quantity import ZERO, add_all
from tallystick.domain.resolution import UNCERTAIN_MAX, tell_arrived, tell_missing

quantities = st.integers(-50, 50).filter(bool).map(Decimal)


@given(st.lists(st.tuples(quantities, st.booleans()), max_size=6))
def test_an_answer_always_adds_up_and_the_truth_is_never_contradicted(
    attempts: list[tuple[Decimal, bool]],
) -> None:
    uncertain = {number: quantity for number, (quantity, _) in enumerate(attempts)}
    truth = [quantity for quantity, has_arrived in attempts if has_arrived]
    answer = tell_arrived(uncertain, ZERO, add_all(truth))
    if answer is not None:
        # the same quantities as in truth, so that resending the others makes the total right
        assert sorted(uncertain[each] for each in answer) == sorted(truth)


@given(quantities, st.booleans())
def test_a_single_unknown_outcome_is_always_told(quantity: Decimal, has_arrived: bool) -> None:
    surplus = quantity if has_arrived else Decimal(0)
    assert tell_arrived({7: quantity}, ZERO, surplus) == (
        frozenset([7]) if has_arrived else frozenset()
    )


def test_a_surplus_that_nothing_adds_up_to_is_not_told() -> None:
    assert tell_arrived({1: Decimal(5)}, ZERO, Decimal(3)) is None


def test_a_surplus_that_several_add_up_to_is_not_told() -> None:
    assert tell_arrived({1: Decimal(3), 2: Decimal(2), 3: Decimal(5)}, ZERO, Decimal(5)) is None


def test_equal_quantities_stand_for_each_other() -> None:
    assert tell_arrived({1: Decimal(5), 2: Decimal(5)}, ZERO, Decimal(5)) == frozenset([1])


def test_too_many_unknowns_are_not_told() -> None:
    unknown = {number: Decimal(number + 1) for number in range(UNCERTAIN_MAX + 1)}
    assert tell_arrived(unknown, ZERO, Decimal(1)) is None


@given(
    quantities=st.lists(st.integers(-9, 9), min_size=1, max_size=9),
    lost=st.sets(st.integers(0, 8)),
)
def test_what_is_missing_is_found_in_the_fewest_reports(
    quantities: list[int], lost: set[int]
) -> None:
    delivered = {number: Decimal(quantity) for number, quantity in enumerate(quantities)}
    missing = sum(quantities[each] for each in lost if each < len(quantities))
    ours = add_all(delivered.values())
    found = tell_missing(delivered, ours, ours - missing)
    if missing:  # nobody asks where nothing is
        assert found is not None
        assert sum(quantities[each] for each in found) == missing
        assert len(found) <= len(lost)


@given(number=st.integers(1, 300), arrived=st.integers(-1, 301), quantity=st.sampled_from([1, -1]))
def test_of_equal_quantities_the_earliest_are_taken(
    number: int, arrived: int, quantity: int
) -> None:
    unknown = dict.fromkeys(range(number), Decimal(quantity))
    expected = frozenset(range(arrived)) if 0 <= arrived <= number else None
    assert tell_arrived(unknown, ZERO, Decimal(arrived * quantity)) == expected
