"""Events as columns: nothing is lost on the way, and the sums are those of a plain loop."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import HOUR_US
from tallystick.domain.quantity import from_parts
from tallystick.ports.errors import UsageOverflow
from tallystick.storage.sqlite.event_columns import NO_PLACE, EventColumns, columns_of

NAMES = st.sampled_from(["a", "b", "c\0", "ü"])
QUANTITIES = st.decimals(-(10**9), 10**9, places=6) | st.sampled_from(
    [Decimal("1E+3"), Decimal("-0.5"), Decimal("0.10"), Decimal(10**15 - 1), Decimal("1E-12")]
)
EVENTS = st.lists(
    st.builds(
        UsageEvent,
        NAMES,
        NAMES,
        NAMES,
        NAMES,
        st.integers(0, 3 * HOUR_US),
        QUANTITIES,
        st.sampled_from([b"", b'{"region":"eu"}']),
    ),
    max_size=30,
)


def sent(events: list[UsageEvent]) -> EventColumns:
    """Return events as the process that stores gets them."""
    columns = columns_of([bytes([number]) for number in range(len(events))], events)
    return msgspec.msgpack.decode(msgspec.msgpack.encode(columns), type=EventColumns)


@given(EVENTS)
def test_events_come_out_as_they_went_in(events: list[UsageEvent]) -> None:
    columns = sent(events)
    assert list(columns.events()) == events
    assert columns.keys == [bytes([number]) for number in range(len(events))]
    assert not any("E" in value for value in columns.values)


@given(EVENTS)
def test_sums_and_chains_are_those_of_a_plain_loop(events: list[UsageEvent]) -> None:
    hours: dict[tuple[str, int, str], list[int]] = {}
    previous = []
    for place, event in enumerate(events):
        hour_at = event.occurred_at - event.occurred_at % HOUR_US
        places = hours.setdefault((event.type, hour_at, event.customer), [])
        previous.append(places[-1] if places else NO_PLACE)
        places.append(place)
    columns = sent(events)
    assert columns.previous == previous
    assert len({(each.type, each.hour_at) for each in columns.hours}) == len(columns.hours)
    for each in columns.hours:
        for customer, count, whole, pico, first, last, latest_at in each.rows():
            places = hours.pop((each.type, each.hour_at, customer))
            assert (count, first, last) == (len(places), places[0], places[-1])
            assert from_parts(whole, pico) == sum(events[place].value for place in places)
            assert latest_at == max(events[place].occurred_at for place in places)
    assert not hours


def test_sums_beyond_64_bits_are_refused() -> None:
    most = UsageEvent("s", "1", "t", "c", 0, Decimal(2**63 - 1))
    assert sent([most]).hours[0].wholes == [2**63 - 1]
    with pytest.raises(UsageOverflow):
        columns_of([b"1", b"2"], [most, most])
