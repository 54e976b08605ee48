"""The pace of calls: evenly under a limit, halved by a 429, won back by equal steps."""

from __future__ import annotations

import pytest

from tallystick.stripe_gateway.connection import StripeConnection
from tallystick.stripe_gateway.pace import EPISODE_SECONDS, RECOVERY_SECONDS, Pace, start_under
from tests.fixtures.clock import FakeClock


def calls_in(pace: Pace, clock: FakeClock, seconds: float) -> int:
    end, calls = clock.elapsed() + seconds, 0
    while clock.elapsed() < end:
        pace.take()
        calls += 1
    return calls


def test_calls_never_come_faster_than_the_rate() -> None:
    clock = FakeClock(0)
    pace = Pace(100, clock)
    assert 990 <= calls_in(pace, clock, 10) <= 1_002  # the first waits for nobody


def test_a_429_halves_the_rate_and_those_of_one_moment_count_once() -> None:
    clock = FakeClock(0)
    pace = Pace(100, clock)
    for _ in range(8):
        pace.slow_down()
    assert pace.per_second == 50
    clock.pause(EPISODE_SECONDS)
    pace.slow_down()
    assert pace.per_second == 25


def test_the_rate_is_won_back_by_equal_steps_and_no_further() -> None:
    clock = FakeClock(0)
    pace = Pace(90, clock)
    pace.slow_down()
    gained = []
    for _ in range(3):
        before = pace.per_second
        clock.pause(RECOVERY_SECONDS / 10)
        pace.take()
        gained.append(pace.per_second - before)
    assert gained == pytest.approx([9, 9, 9])
    clock.pause(10 * RECOVERY_SECONDS)
    pace.take()
    assert pace.per_second == 90


def test_however_often_stripe_says_no_one_call_a_second_is_tried() -> None:
    clock = FakeClock(0)
    pace = Pace(100, clock)
    for _ in range(50):
        pace.slow_down()
        clock.pause(EPISODE_SECONDS)
    assert pace.per_second == 1
    assert calls_in(pace, clock, 1) >= 1


@pytest.mark.parametrize(
    ("key", "rate", "expected"),
    [
        ("sk_test_x", None, (20, 20, 20)),
        ("sk_live_x", None, (80, 800, 80)),
        ("sk_live_x", 7, (7, 7, 7)),
    ],
)
def test_the_start_is_under_the_published_limits_of_the_keys_mode(
    key: str, rate: int | None, expected: tuple[int, int, int]
) -> None:
    connection = StripeConnection(key, None, rate, FakeClock(0))
    paces = (connection.pace, connection.meter_event_pace, connection.stream_pace)
    assert tuple(pace.per_second for pace in paces) == expected
    assert start_under(1) == 1
