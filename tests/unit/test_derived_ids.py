"""Derived ids: the same for ever, and different wherever events are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.derived_ids import derived_id
from tallystick.domain.instants import parse_instant
from tests.fixtures.paths import ROOT

VECTOR = ("gateway", "http_request", "acme", parse_instant("2026-11-22T10:00:00.25Z"))
names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
parts = st.tuples(names, names, names, st.integers(0, 4_102_444_800_000_000))


def test_an_id_is_derived_as_the_docs_say() -> None:
    shown = derived_id(*VECTOR)
    assert shown == "derived_2f6da774ce167051a6739521abf9d738"
    page = (ROOT / "docs" / "events.md").read_text("utf-8")
    printed = re.search(r"printf '([^%]+)%s' (\d+) \| sha256sum", page)
    assert printed is not None
    spelled = (printed[1].replace("\\0", "\0") + printed[2]).split("\0")
    assert spelled == [*VECTOR[:3], str(VECTOR[3])]
    assert f"`{shown}`" in page


@given(parts, parts)
def test_ids_are_equal_exactly_where_all_four_are(
    one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


@given(parts)
def test_what_moves_from_one_part_to_the_next_makes_another_id(
    one: tuple[str, str, str, int],
) -> None:
    source, event_type, customer, at = one
    assert derived_id(*one) != derived_id(source + event_type[0], event_type[1:], customer, at)
