"""What an item was at a past instant, put together from facts in any order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.item_history import (
    END_OF_TIME,
    BilledUsage,
    ItemChange,
    ItemFacts,
    ItemReading,
    ItemState,
    billing_spans,
    item_segments,
    state_at,
)
from tallystick.domain.periods import Period

MAY, JUNE, JULY = Period(100, 200), Period(200, 300), Period(300, 400)


def spans(facts: ItemFacts) -> list[tuple[int, int, str]]:
    return [
        (span.start_at, span.end_at, state.stripe_price_id) for span, state in item_segments(facts)
    ]


def test_an_item_that_was_only_read_has_its_present_period() -> None:
    assert spans(ItemFacts(present=ItemState("a", MAY), read_since=150)) == [(100, 200, "a")]


def test_an_item_that_was_added_later_counts_from_then_on() -> None:
    facts = ItemFacts(present=ItemState("a", MAY), began_at=130)
    assert spans(facts) == [(130, 200, "a")]


def test_nothing_is_after_the_end_of_a_subscription() -> None:
    facts = ItemFacts(present=ItemState("a", MAY), ended_at=160)
    assert spans(facts) == [(100, 160, "a")]
    assert state_at(facts, 160) is None


def test_a_change_of_price_divides_the_item_and_not_its_billing_period() -> None:
    change = ItemChange(140, ItemState("a", MAY), ItemState("b", MAY))
    facts = ItemFacts(changes=(change,), present=ItemState("b", MAY))
    assert spans(facts) == [(100, 140, "a"), (140, 200, "b")]
    assert billing_spans(item_segments(facts)) == (MAY,)


def test_a_moved_anchor_ends_the_period() -> None:
    moved = Period(140, 240)
    change = ItemChange(140, ItemState("a", MAY), ItemState("a", moved))
    facts = ItemFacts(changes=(change,), present=ItemState("a", moved))
    assert billing_spans(item_segments(facts)) == (Period(100, 140), moved)


def test_a_longer_trial_was_always_that_long_in_hindsight() -> None:
    longer = Period(100, 260)
    change = ItemChange(150, ItemState("a", MAY), ItemState("a", longer))
    facts = ItemFacts(changes=(change,), present=ItemState("a", longer))
    assert item_segments(facts) == ((longer, ItemState("a", longer)),)


def test_changes_of_one_instant_are_a_chain_in_whatever_order_they_came() -> None:
    states = [ItemState(price, MAY) for price in "abcd"]
    chain = [ItemChange(150, before, after) for before, after in pairwise(states)]
    for order in (chain, chain[::-1], [chain[1], chain[0], chain[2]]):
        facts = ItemFacts(changes=tuple(order), present=states[-1])
        assert spans(facts) == [(100, 150, "a"), (150, 200, "d")]


def test_periods_without_events_are_found_on_invoice_lines() -> None:
    facts = ItemFacts(
        readings=(ItemReading(120, ItemState("a", MAY)),),
        billed=(BilledUsage(MAY, "a"), BilledUsage(JUNE, "a")),
        present=ItemState("a", JULY),
    )
    assert spans(facts) == [(100, 200, "a"), (200, 300, "a"), (300, 400, "a")]


def test_an_invoice_line_tells_when_an_unseen_change_was() -> None:
    facts = ItemFacts(
        readings=(ItemReading(110, ItemState("a", MAY)),),
        billed=(BilledUsage(Period(100, 140), "a"), BilledUsage(Period(140, 200), "b")),
        present=ItemState("b", JUNE),
    )
    assert spans(facts)[:2] == [(100, 140, "a"), (140, 200, "b")]


def test_a_reading_that_changes_explain_is_not_believed_to_the_second() -> None:
    """It was taken by another clock: an event says better when the price changed."""
    facts = ItemFacts(
        changes=(
            ItemChange(150, ItemState("a", MAY), ItemState("b", MAY)),
            ItemChange(170, ItemState("b", MAY), ItemState("c", MAY)),
        ),
        readings=(ItemReading(172, ItemState("b", MAY)), ItemReading(155, ItemState("a", MAY))),
        present=ItemState("c", MAY),
    )
    assert spans(facts)[:2] == [(100, 150, "a"), (150, 170, "b")]


def test_an_unexplained_change_is_taken_to_be_when_it_was_first_read() -> None:
    facts = ItemFacts(
        readings=(ItemReading(110, ItemState("a", MAY)),),
        present=ItemState("b", MAY),
        read_since=160,
    )
    assert spans(facts) == [(100, 160, "a"), (160, 200, "b")]


def test_a_reading_of_an_unknown_instant_does_not_outlive_the_removal_that_an_event_tells() -> None:
    state = ItemState("a", MAY)
    facts = ItemFacts(
        changes=(ItemChange(150, state, None),),
        readings=(ItemReading(END_OF_TIME, state),),
        read_since=150,
    )
    assert spans(facts) == [(100, 150, "a")]
    assert state_at(facts, 149) == state
    assert state_at(facts, 150) is None


def test_a_reading_of_an_unknown_instant_holds_until_the_present_was_read() -> None:
    readings = (ItemReading(END_OF_TIME, ItemState("a", MAY)),)
    facts = ItemFacts(readings=readings, present=ItemState("b", MAY), read_since=160)
    assert spans(facts) == [(100, 160, "a"), (160, 200, "b")]
    gone = ItemFacts(readings=readings, read_since=160)
    assert spans(gone) == [(100, 160, "a")]
    renewed = ItemFacts(readings=readings, present=ItemState("a", JUNE), read_since=260)
    assert spans(renewed) == [(100, 200, "a"), (200, 300, "a")]


def test_a_step_between_changes_of_one_instant_does_not_outlive_them() -> None:
    """A test clock stands still: an item is changed, read and removed at one instant of it."""
    one, other = ItemState("a", MAY), ItemState("b", MAY)
    reading = ItemReading(150, other)
    for after in (None, one):
        changes = (ItemChange(150, one, other), ItemChange(150, other, after))
        facts = ItemFacts(changes=changes, readings=(reading,), present=after, read_since=180)
        assert state_at(facts, 149) == one
        assert state_at(facts, 150) == after


def test_between_periods_that_are_known_nothing_is_made_up() -> None:
    facts = ItemFacts(
        readings=(ItemReading(120, ItemState("a", MAY)),), present=ItemState("a", JULY)
    )
    assert spans(facts) == [(100, 200, "a"), (300, 400, "a")]


prices = st.sampled_from("abc")


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, ItemState]], ItemFacts]:
    """Return what an item was from each instant on, and the facts that tell it, shuffled."""
    truth = [(100, ItemState(draw(prices), MAY))]
    changes = []
    at, period = 100, MAY
    for _ in range(draw(st.integers(0, 8))):
        if draw(st.booleans()):  # a renewal
            at = period.end_at
            period = Period(at, at + 100)
            state = ItemState(truth[-1][1].stripe_price_id, period)
        else:
            at = draw(st.integers(at, period.end_at - 1))
            state = ItemState(draw(prices), period)
        changes.append(ItemChange(at, truth[-1][1], state))
        truth.append((at, state))
    told = draw(st.permutations(changes))
    return truth, ItemFacts(changes=tuple(told), present=truth[-1][1])


@given(histories())
def test_every_past_instant_is_answered_whatever_order_the_facts_came_in(
    history: tuple[list[tuple[int, ItemState]], ItemFacts],
) -> None:
    truth, facts = history
    end_at = truth[-1][1].period.end_at
    for at in range(100, end_at, 7):
        expected = [state for since, state in truth if since <= at][-1]
        assert state_at(facts, at) == expected
    segments = item_segments(facts)
    assert segments[0].span.start_at == 100
    assert segments[-1].span.end_at == end_at
    assert sum(span.end_at - span.start_at for span, _ in segments) == end_at - 100
