"""What every book of lateness promises, whichever backend it is."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US, SECOND_US
from tallystick.domain.lateness import AHEAD, delay_ms
from tallystick.domain.meters import Aggregation, Meter, PropertyFilter
from tallystick.domain.periods import Period
from tallystick.pipeline.lateness import arrivals_of
from tests.contract.backends import NOW, Backend, put_in_force
from tests.contract.racing import race

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.meters import Selection
    from tallystick.wiring import Tallystick

SEEN = Meter("seen", "", "seen", Aggregation.COUNT)
HEARD = Meter("heard", "", "heard", Aggregation.SUM)
IN_EU = Meter("eu", "", "seen", Aggregation.SUM, filters=(PropertyFilter("region", ("eu",)),))
USERS = Meter("users", "", "seen", Aggregation.UNIQUE_COUNT, counted_property="user")
METERS = (SEEN, HEARD, IN_EU, USERS)
ALL = [arrivals_of(meter) for meter in METERS]
TODAY = Period(NOW - NOW % DAY_US, NOW - NOW % DAY_US + DAY_US)
LATENESS_US = [
    -1,
    -HOUR_US,
    0,
    999,
    *(10**power + step for power in range(3, 16) for step in (-1, 0, 1, 10**power // 7)),
]
"""At and beside each power of ten, from under a millisecond to decades."""


def append(
    product: Tallystick,
    lateness_us: Sequence[int],
    event_type: str = "seen",
    *,
    at: int = NOW,
    properties: bytes = b"",
    is_history: bool = False,
) -> None:
    """Let events arrive that happened so long before."""
    first = product.events.count()
    events = [
        UsageEvent("s", f"e{first + n}", event_type, "acme", at - behind, Decimal(1), properties)
        for n, behind in enumerate(lateness_us)
    ]
    product.events.append(events, at, is_history=is_history).result()


def tally(product: Tallystick, selections: Sequence[Selection] = ALL, limit: int = 7) -> int:
    """Count until all is counted; return how many events were looked at."""
    looked_at = 0
    while step := product.lateness.tally(selections, limit):
        assert step <= limit
        looked_at += step
    return looked_at


def expected(lateness_us: Sequence[int]) -> Counter[int]:
    return Counter(delay_ms(NOW - behind, NOW) for behind in lateness_us)


def test_each_event_counts_once_under_its_delay(store: Tallystick) -> None:
    put_in_force(store, METERS)
    append(store, LATENESS_US)
    append(store, [5 * SECOND_US] * 3, "heard")
    assert store.lateness.waiting(ALL) == len(LATENESS_US) + 3
    tally(store)
    assert store.lateness.waiting(ALL) == 0
    found = store.lateness.delays(ALL[0], TODAY)
    assert found == expected(LATENESS_US)
    assert found[AHEAD] == 2
    assert store.lateness.delays(ALL[1], TODAY) == {5000: 3}
    assert tally(store) == 0


def test_events_count_on_the_day_on_which_they_arrived(store: Tallystick) -> None:
    put_in_force(store, METERS)
    append(store, [3 * DAY_US], at=TODAY.end_at - 1)
    append(store, [0, 0], at=TODAY.end_at)
    tally(store)
    tomorrow = Period(TODAY.end_at, TODAY.end_at + DAY_US)
    assert store.lateness.delays(ALL[0], TODAY) == {250_000_000: 1}
    assert store.lateness.delays(ALL[0], tomorrow) == {0: 2}
    both = Period(TODAY.start_at, tomorrow.end_at)
    assert store.lateness.delays(ALL[0], both) == {0: 2, 250_000_000: 1}


def test_only_the_events_that_a_meter_counts_concern_it(store: Tallystick) -> None:
    put_in_force(store, METERS)
    append(store, [SECOND_US], properties=b'{"region":"eu","user":"ann"}')
    append(store, [2 * SECOND_US] * 2, properties=b'{"region":"us","user":"bob"}')
    append(store, [3 * SECOND_US] * 4, properties=b'{"region":"eu"}')
    tally(store)
    delays = [store.lateness.delays(selection, TODAY) for selection in ALL]
    assert delays == [
        {1000: 1, 2000: 2, 3000: 4},
        {},
        {1000: 1, 3000: 4},
        {1000: 1, 2000: 2},
    ]


def test_history_counts_nowhere(store: Tallystick) -> None:
    put_in_force(store, METERS)
    append(store, [DAY_US] * 3, properties=b'{"region":"eu"}', is_history=True)
    append(store, [SECOND_US], properties=b'{"region":"eu"}')
    tally(store)
    assert [store.lateness.delays(ALL[number], TODAY) for number in (0, 2)] == [{1000: 1}] * 2


def test_what_is_counted_later_catches_up_from_the_first_event(store: Tallystick) -> None:
    put_in_force(store, METERS)
    append(store, [SECOND_US] * 10, properties=b'{"region":"eu"}')
    tally(store, ALL[:1])
    append(store, [SECOND_US] * 5, properties=b'{"region":"eu"}')
    assert store.lateness.waiting(ALL[:1]) == 5
    assert store.lateness.waiting(ALL) == 15
    tally(store)
    assert [store.lateness.delays(ALL[number], TODAY) for number in (0, 2)] == [{1000: 15}] * 2


def test_nothing_is_lost_or_counted_twice_in_a_crash(backend: Backend) -> None:
    put_in_force(backend.product, METERS)
    append(backend.product, LATENESS_US)
    for _ in range(3):
        backend.product.lateness.tally(ALL, 10)
        backend.crash()
    tally(backend.product)
    assert backend.product.lateness.delays(ALL[0], TODAY) == expected(LATENESS_US)


def test_racing_tallies_count_each_event_once(store: Tallystick, other: Tallystick) -> None:
    put_in_force(store, METERS)
    append(store, [SECOND_US] * 400)

    def count_and_append(product: Tallystick, first: int) -> None:
        for number in range(first, first + 20):
            event = UsageEvent("race", str(number), "seen", "acme", NOW - SECOND_US, Decimal(1))
            product.events.append([event], NOW).result()
            product.lateness.tally(ALL, 9)

    race([lambda: count_and_append(store, 0), lambda: count_and_append(other, 100)])
    tally(store)
    assert other.lateness.delays(ALL[0], TODAY) == {1000: 440}
