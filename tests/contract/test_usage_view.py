"""Usage as people see it: totals, groups and windows agree, whatever the aggregation."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.domain.corrections import Correction
from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US
from tallystick.domain.meters import Aggregation, Meter, PropertyFilter, TimeUnit
from tallystick.domain.periods import Period
from tallystick.domain.usage_windows import WindowSize
from tallystick.oversight.usage_view import CARRIED_SPAN_MAX_US, usage_view
from tests.contract.backends import BACKENDS, NOW, Backend, put_in_force

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = NOW - NOW % DAY_US
SEATS = Meter("seats", "", "seats_set", Aggregation.TIME_WEIGHTED, per=TimeUnit.DAY)
PLAN = Meter("plan", "", "seats_set", Aggregation.LAST_EVER)
CALLS = Meter("calls", "", "call", Aggregation.COUNT, group_by=("region", "model"))
EU_CALLS = Meter(
    "eu_calls", "", "call", Aggregation.COUNT, filters=(PropertyFilter("region", ("eu",)),)
)


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each backend in turn."""
    made = BACKENDS[request.param](tmp_path)
    put_in_force(made.product, (SEATS, PLAN, CALLS, EU_CALLS))
    yield made
    made.close()


def append(backend: Backend, type_: str, *rows: tuple[int, str, bytes]) -> None:
    first = backend.product.events.count()
    events = [
        UsageEvent("s", f"{number}", type_, "acme", at, Decimal(value), properties)
        for number, (at, value, properties) in enumerate(rows, first)
    ]
    backend.product.events.append(events, NOW).result()


def view(
    backend: Backend, meter: Meter, period: Period, size: WindowSize | None = None
) -> dict[str, Any]:
    shown = usage_view(backend.product.usage, [meter], "acme", period, size)
    usage: dict[str, Any] = shown["usage"][0]
    return usage


def test_the_hour_under_way_counts_what_lies_before_the_end_of_the_period(
    backend: Backend,
) -> None:
    def quantity_upto(minute: int) -> str:
        shown = view(backend, CALLS, Period(START, START + minute * MINUTE_US))["quantity"]
        eu = view(backend, EU_CALLS, Period(START, START + minute * MINUTE_US))["quantity"]
        assert shown == eu
        return str(shown)

    in_europe = b'{"region":"eu","model":"m"}'
    append(backend, "call", *((START + minute * MINUTE_US, "1", in_europe) for minute in (50, 10)))
    assert [quantity_upto(minute) for minute in (10, 11, 50, 51, 60)] == ["0", "1", "1", "2", "2"]
    append(backend, "call", *((START + minute * MINUTE_US, "1", in_europe) for minute in (20, 55)))
    assert [quantity_upto(minute) for minute in (51, 55, 56)] == ["3", "3", "4"]
    void = Correction("s", "0", None, "ann", "a test")
    backend.product.events.correct([void], NOW).result()
    append(backend, "call", (START + 5 * MINUTE_US, "1", in_europe))
    assert [quantity_upto(minute) for minute in (20, 51, 56)] == ["2", "3", "4"]


def test_seat_days_are_the_area_under_the_level(backend: Backend) -> None:
    """2 seats from noon, 5 from 18:00 on: 0.5 + 1.25 seat-days that day, then 5 a day."""
    append(backend, "seats_set", (START + 18 * HOUR_US, "5", b""), (START + 12 * HOUR_US, "2", b""))
    two_days = Period(START, START + 2 * DAY_US)
    shown = view(backend, SEATS, two_days, WindowSize.DAY)
    assert shown["quantity"] == "6.75"
    assert [window["quantity"] for window in shown["windows"]] == ["1.75", "5"]
    later = Period(START + 10 * DAY_US, START + 10 * DAY_US + 36 * MINUTE_US)
    assert view(backend, SEATS, later)["quantity"] == "0.125"
    assert view(backend, SEATS, Period(START - DAY_US, START))["quantity"] == "0"


def test_last_ever_carries_into_later_periods(backend: Backend) -> None:
    append(backend, "seats_set", (START, "3", b""), (START + HOUR_US + 7, "8", b""))
    for from_at, to_at, expected in (
        (START - HOUR_US, START, "0"),
        (START, START + HOUR_US + 7, "3"),
        (START + HOUR_US + 7, START + 2 * HOUR_US, "8"),
        (START + 400 * DAY_US, START + 430 * DAY_US, "8"),
    ):
        assert expected == view(backend, PLAN, Period(from_at, to_at))["quantity"]


def test_groups_add_up_to_the_total_and_filters_pick(backend: Backend) -> None:
    rows = (
        (START, "1", b'{"region":"eu","model":"a"}'),
        (START + 1, "1", b'{"region":"eu","model":"b"}'),
        (START + HOUR_US, "1", b'{"region":"eu","model":"a"}'),
        (START + HOUR_US, "1", b'{"region":"us"}'),
        (START + HOUR_US, "1", b""),
    )
    append(backend, "call", *rows)
    shown = view(backend, CALLS, Period(START, START + DAY_US))
    assert shown["quantity"] == "5"
    assert {
        (each["group"]["region"], each["group"]["model"]): each["quantity"]
        for each in shown["groups"]
    } == {
        ("eu", "a"): "2",
        ("eu", "b"): "1",
        ("us", None): "1",
        (None, None): "1",
    }
    eu = view(backend, EU_CALLS, Period(START, START + DAY_US))
    assert (eu["quantity"], "groups" in eu) == ("3", False)


def test_a_level_is_not_cut_into_endless_windows(backend: Backend) -> None:
    append(backend, "seats_set", (START, "1", b""))
    too_long = Period(START, START + CARRIED_SPAN_MAX_US + HOUR_US)
    with pytest.raises(ValueError, match="20,000 hours"):
        view(backend, SEATS, too_long, WindowSize.DAY)
    assert view(backend, SEATS, too_long)["quantity"]
