"""What every backend promises of days that are rolled up: usage is the same before and after, and
whatever happens to such a day counts at once.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.corrections import Correction
from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US
from tallystick.domain.meters import Aggregation, Meter, PropertyFilter
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.storage.postgres import day_rollups as postgres_day_rollups
from tallystick.storage.sqlite import day_rollups as sqlite_day_rollups
from tests.contract.archiving import archive_everything, archiver_of
from tests.contract.backends import NOW, Backend, put_in_force
from tests.contract.plain_recount import Counted, recount
from tests.contract.racing import race
from tests.fixtures.meters import OF_EACH_AGGREGATION
from tests.fixtures.seeds import chosen_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallystick.wiring import Tallystick

FIRST_DAY = NOW - NOW % DAY_US - 6 * DAY_US
DAYS = 5
CUSTOMERS = ("acme", "bolt", "zürich/\x85")
EU = Meter("m_eu", "", "seen", Aggregation.SUM, 3, filters=(PropertyFilter("region", ("eu",)),))
GROUPS = Meter("m_groups", "", "seen", Aggregation.MAX, 3, group_by=("region",))
COUNT = next(meter for meter in OF_EACH_AGGREGATION if meter.aggregation is Aggregation.COUNT)
EVER = Period(FIRST_DAY - 40 * DAY_US, NOW)
PERIODS = (
    EVER,
    Period(FIRST_DAY, FIRST_DAY + DAY_US),
    Period(FIRST_DAY + 7 * HOUR_US + 1, FIRST_DAY + 3 * DAY_US + 11 * MINUTE_US),
    Period(FIRST_DAY + DAY_US - 1, FIRST_DAY + 2 * DAY_US + 1),
    Period(FIRST_DAY + DAY_US + HOUR_US, FIRST_DAY + 2 * DAY_US - HOUR_US),
    Period(FIRST_DAY + 4 * DAY_US, NOW + 3 * DAY_US),
)


def random_event(draw: Random, number: int, first_day: int = FIRST_DAY) -> UsageEvent:
    user, region = draw.choice("abcd"), draw.choice(("eu", "us"))
    return UsageEvent(
        "s",
        f"e{number}",
        "seen",
        draw.choice(CUSTOMERS),
        first_day + draw.randrange(DAYS * DAY_US),
        Decimal(draw.randint(-2_000, 9_000)).scaleb(-3),
        f'{{"user":"{user}","region":"{region}"}}'.encode(),
    )


def an_event(event_id: str, at: int, value: int = 1, customer: str = "acme") -> UsageEvent:
    return UsageEvent("s", event_id, "seen", customer, at, Decimal(value))


def counted(events: Iterable[UsageEvent], customer: str, region: str = "") -> list[Counted]:
    return [
        Counted(event.occurred_at, order, Fraction(event.value), event.properties.decode()[9:10])
        for order, event in enumerate(events)
        if event.customer == customer and region in event.properties.decode()
    ]


def assert_is_a_recount(product: Tallystick, events: Sequence[UsageEvent]) -> None:
    """Compare usage, breakdown and hours of every meter with the events."""
    for customer in CUSTOMERS:
        own = counted(events, customer)
        for period in PERIODS:
            span = (period.start_at, period.end_at)
            for meter in OF_EACH_AGGREGATION:
                state = product.usage.usage(meter, customer, period)
                shown = Fraction(quantity_of(state, meter.aggregation))
                assert recount(meter.aggregation, own, *span) == shown, (meter.key, str(period))
            state = product.usage.usage(EU, customer, period)
            in_eu = counted(events, customer, '"eu"')
            assert recount("sum", in_eu, *span) == Fraction(quantity_of(state, EU.aggregation))
            groups = product.usage.breakdown(GROUPS, customer, period)
            for region in ("eu", "us"):
                inside = counted(events, customer, f'"{region}"')
                group = groups.get(f'["{region}"]')
                found = Fraction(quantity_of(group, GROUPS.aggregation)) if group else 0
                assert recount("max", inside, *span) == found
        hours = [cell.state.event_count for cell in product.usage.hours(COUNT, customer, EVER)]
        each = Counter(event.at // HOUR_US for event in own)
        assert [each[hour] for hour in sorted(each)] == [number for number in hours if number]


def count(product: Tallystick, period: Period = EVER, customer: str = "acme") -> int:
    return product.usage.usage(COUNT, customer, period).event_count


def findings(product: Tallystick) -> list[str]:
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
    return [finding for check in checks for finding in check.findings]


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a day take several steps."""
    for module in (sqlite_day_rollups, postgres_day_rollups):
        monkeypatch.setattr(module, "CUSTOMERS_AT_ONCE", 1)
        monkeypatch.setattr(module, "STALE_AT_ONCE", 2)


def test_usage_is_a_recount_at_every_step(store: Tallystick) -> None:
    put_in_force(store, [*OF_EACH_AGGREGATION, EU, GROUPS])
    draw = Random(chosen_seed())
    events = [random_event(draw, number) for number in range(60)]
    store.events.append(events, NOW).result()
    assert_is_a_recount(store, events)
    assert store.day_rollups.begin(NOW) > 0
    steps = 0
    while store.day_rollups.step() is not None:
        steps += 1
        if steps % 25 == 0:
            events.append(random_event(draw, 1_000 + steps))  # which makes rolled days stale
            store.events.append([events[-1]], NOW).result()
            assert_is_a_recount(store, events)
    assert steps > 50
    assert_is_a_recount(store, events)
    assert findings(store) == []
    assert store.day_rollups.begin(NOW) == 0
    assert store.day_rollups.step() is None


def test_a_rolled_day_is_read_from_its_own_rollup(backend: Backend) -> None:
    product = backend.product
    put_in_force(product, [COUNT])
    at = FIRST_DAY + 5 * HOUR_US
    product.events.append([an_event("a", at), an_event("b", at + DAY_US)], NOW).result()
    product.day_roller.keep_up()
    assert findings(product) == []
    altered = backend.alter(
        f"UPDATE day_rollups SET event_count = event_count + 5 WHERE day_at = {FIRST_DAY}"
    )
    assert altered == 1
    assert count(product) == 7
    assert count(product, Period(FIRST_DAY + HOUR_US, NOW)) == 2  # a day that is cut is not
    assert [cell.state.event_count for cell in product.usage.hours(COUNT, "acme", EVER)] == [1, 1]
    (finding,) = findings(product)
    assert "day 2027-01-09, customer acme" in finding
    assert "rollup of the day count 6 sum 1, its hours count 1 sum 1" in finding


def test_a_missing_and_a_surplus_rollup_of_a_day_are_named(backend: Backend) -> None:
    product = backend.product
    put_in_force(product, [COUNT])
    at = FIRST_DAY + 5 * HOUR_US
    product.events.append([an_event("a", at), an_event("b", at, customer="bolt")], NOW).result()
    product.day_roller.keep_up()
    assert backend.alter("UPDATE day_rollups SET customer = 'eve' WHERE customer = 'bolt'") == 1
    missing, surplus = findings(product)
    assert "customer bolt" in missing
    assert "rollup of the day missing, its hours count 1" in missing
    assert "customer eve" in surplus
    assert "rollup of the day count 1 sum 1, its hours missing" in surplus


def test_a_late_event_counts_at_once_and_has_its_day_rolled_up_again(backend: Backend) -> None:
    product = backend.product
    put_in_force(product, [COUNT])
    at = FIRST_DAY + 5 * HOUR_US
    product.events.append([an_event("a", at), an_event("b", at, customer="bolt")], NOW).result()
    product.day_roller.keep_up()
    backend.alter("UPDATE day_rollups SET event_count = 100")
    late = an_event("late", FIRST_DAY + 20 * HOUR_US)
    product.events.append([late], NOW).result()
    assert count(product) == 2  # by its hours
    assert count(product, customer="bolt") == 100  # whose day did not change
    assert product.day_roller.keep_up() == 1
    assert count(product) == 2
    assert backend.alter("UPDATE day_rollups SET event_count = 50 WHERE customer = 'acme'") == 1
    assert count(product) == 50  # by the day again


def test_an_event_for_today_makes_nothing_stale(backend: Backend) -> None:
    product = backend.product
    put_in_force(product, [COUNT])
    product.events.append([an_event("a", FIRST_DAY)], NOW).result()
    product.day_roller.keep_up()
    product.events.append([an_event("b", NOW), an_event("c", NOW - DAY_US // 2)], NOW).result()
    assert backend.alter("DELETE FROM stale_days") == 0
    assert product.day_roller.keep_up() == 1  # yesterday, which had no events before


def test_a_day_waits_until_it_is_over_by_some_hours(store: Tallystick) -> None:
    put_in_force(store, [COUNT])
    midnight = NOW - NOW % DAY_US
    store.events.append([an_event("a", midnight - 1)], NOW).result()
    assert store.day_rollups.begin(midnight - 1) == 0
    assert store.day_rollups.begin(midnight) == 1
    assert store.day_rollups.step() == 1


def test_corrections_of_a_rolled_day_count_at_once(backend: Backend) -> None:
    product = backend.product
    weight = Meter("weight", "", "seen", Aggregation.SUM, 3)
    put_in_force(product, [COUNT, weight, GROUPS])
    at = FIRST_DAY + 5 * HOUR_US
    product.events.append([an_event("a", at, 3), an_event("b", at, 4)], NOW).result()
    product.day_roller.keep_up()
    for value, total in ((None, 4), (Decimal(10), 14)):
        correction = Correction("s", "a", value, "ann", "a test")
        product.events.correct([correction], NOW).result()
        for attempt in range(2):
            state = product.usage.usage(weight, "acme", EVER)
            assert total == quantity_of(state, Aggregation.SUM)
            assert total == quantity_of(
                product.usage.breakdown(GROUPS, "acme", EVER)["[null]"], Aggregation.SUM
            )
            assert product.day_roller.keep_up() == (3 if attempt == 0 else 0)
    assert findings(product) == []


def test_a_meter_that_is_declared_later_gets_days_of_its_own(store: Tallystick) -> None:
    put_in_force(store, [COUNT])
    draw = Random(chosen_seed())
    events = [random_event(draw, number) for number in range(30)]
    store.events.append(events, NOW).result()
    store.day_roller.keep_up()
    put_in_force(store, [*OF_EACH_AGGREGATION, EU, GROUPS])
    assert_is_a_recount(store, events)
    assert store.day_roller.keep_up() > 0
    assert_is_a_recount(store, events)


def test_days_that_are_archived_and_restored_stay_rolled_up(store: Tallystick) -> None:
    put_in_force(store, [*OF_EACH_AGGREGATION, EU, GROUPS])
    draw = Random(chosen_seed())
    events = [random_event(draw, number) for number in range(30)]
    store.events.append(events, NOW).result()
    store.day_roller.keep_up()
    while store.book.notice(1_000) == 1_000:
        pass
    archive_everything(store)
    late = random_event(draw, 100)
    store.events.append([late], NOW).result()
    store.events.correct([Correction("s", "e3", None, "ann", "a test")], NOW).result()
    kept = [event for event in [*events, late] if event.id != "e3"]
    assert_is_a_recount(store, kept)
    store.day_roller.keep_up()
    assert_is_a_recount(store, kept)
    archiver = archiver_of(store)
    for day_at in archiver.archived_days(0, NOW):
        archiver.restore(day_at)
    assert_is_a_recount(store, kept)
    assert findings(store) == []


def test_a_day_may_come_to_more_than_an_hour_can(backend: Backend) -> None:
    product = backend.product
    put_in_force(product, [COUNT])
    largest = (1 << 63) - 1
    hours = [FIRST_DAY + number * HOUR_US for number in range(3)]
    product.events.append([an_event(str(at), at) for at in hours], NOW).result()
    assert backend.alter(f"UPDATE usage_rollups SET sum_whole = {largest}") == 3
    product.day_roller.keep_up()
    assert product.usage.usage(COUNT, "acme", EVER).sum_whole == 3 * largest
    assert backend.alter(f"UPDATE usage_rollups SET sum_whole = {-largest}") == 3
    assert backend.alter("DELETE FROM rolled_days") == 1
    product.day_roller.keep_up()
    assert product.usage.usage(COUNT, "acme", EVER).sum_whole == -3 * largest


def test_the_last_usage_is_found_however_long_ago(store: Tallystick) -> None:
    ever = Meter("ever", "", "seen", Aggregation.LAST_EVER, 3)
    put_in_force(store, [ever])
    long_ago = FIRST_DAY - 100 * DAY_US
    store.events.append([an_event("a", long_ago, 7), an_event("b", NOW, 9)], NOW).result()
    for _ in range(2):
        for at, value in ((long_ago + 1, 7), (FIRST_DAY, 7), (NOW - 1, 7), (NOW, 9)):
            state = store.usage.usage(ever, "acme", Period(at, at + 1))
            assert value == quantity_of(state, Aggregation.LAST_EVER)
        store.day_roller.keep_up()


def test_rolls_and_appends_race(backend: Backend, other: Tallystick) -> None:
    product = backend.product
    put_in_force(product, [*OF_EACH_AGGREGATION, EU, GROUPS])
    draw = Random(chosen_seed())
    events = [random_event(draw, number) for number in range(160)]
    product.events.append(events[:40], NOW).result()

    def append(store: Tallystick, own: Sequence[UsageEvent]) -> None:
        for first in range(0, len(own), 5):
            store.events.append(own[first : first + 5], NOW).result()
            correction = Correction("s", own[first].id, Decimal(first), "ann", "a test")
            store.events.correct([correction], NOW).result()

    def roll(store: Tallystick) -> None:
        for _ in range(60):
            if store.day_rollups.step() is None:
                store.day_rollups.begin(NOW)

    race(
        [
            lambda: append(product, events[40:100]),
            lambda: append(other, events[100:]),
            lambda: roll(product),
            lambda: roll(other),
        ]
    )
    for first in range(0, 120, 5):
        old, value = events[40 + first], Decimal(first % 60)
        events[40 + first] = UsageEvent(
            old.source, old.id, old.type, old.customer, old.occurred_at, value, old.properties
        )
    # the two writers' events lie among each other, which only matters for equal times
    for store in (product, other):
        assert_is_a_recount(store, events)
        store.day_roller.keep_up()
        assert_is_a_recount(store, events)
    assert findings(product) == []
