"""GET /v1/lateness over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallystick.api import lateness as endpoint
from tallystick.domain.instants import HOUR_US, MINUTE_US, SECOND_US, format_instant
from tallystick.pipeline import lateness as tallying

if TYPE_CHECKING:
    import httpx2

    from tests.fixtures.clock import FakeClock


def send(api: httpx2.Client, clock: FakeClock, *late_us: int) -> None:
    first = clock.now()
    events = [
        {
            "id": f"{first}-{number}",
            "type": "http_request",
            "customer": "acme",
            "time": format_instant(clock.now() - late),
        }
        for number, late in enumerate(late_us)
    ]
    assert api.post("/v1/events", json=events).json()["accepted"] == len(events)


def test_lateness_is_shown_for_each_meter(api: httpx2.Client, clock: FakeClock) -> None:
    send(api, clock, *[1_234_000] * 97, 42 * SECOND_US, 3 * HOUR_US, -5 * SECOND_US)
    shown = api.get("/v1/lateness").json()
    meter = {
        "events": 100,
        "p50_seconds": "1.3",
        "p99_seconds": "43",
        "late": 1,
        "late_share": "0.01",
        "ahead": 1,
    }
    assert shown == {
        "from": "2015-04-22T00:00:00Z",
        "to": "2015-05-22T00:00:00Z",
        "late_after_seconds": "3600",
        "waiting": 0,
        "meters": [{"meter": key, **meter} for key in ("api_requests", "bandwidth_bytes")],
    }
    one = api.get("/v1/lateness", params={"meter": "bandwidth_bytes"}).json()
    assert one["meters"] == shown["meters"][1:]


def test_days_are_those_of_arrival(api: httpx2.Client, clock: FakeClock) -> None:
    send(api, clock, 10 * 24 * HOUR_US)
    of_today = {"from": "2015-05-21", "to": "2015-05-22"}
    before = {"to": "2015-05-21"}
    counts = [
        api.get("/v1/lateness", params=days).json()["meters"][0]["events"]
        for days in (of_today, before)
    ]
    assert counts == [1, 0]


def test_a_meter_without_events_has_no_figures(api: httpx2.Client) -> None:
    (meter, _) = api.get("/v1/lateness").json()["meters"]
    assert (meter["events"], meter["p50_seconds"], meter["late_share"]) == (0, None, None)


def test_an_answer_waits_for_no_more_than_a_few_batches(
    api: httpx2.Client, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallying, "TALLY_BATCH", 2)
    send(api, clock, *[MINUTE_US] * 11)
    waiting = []
    for _ in range(3):
        shown = api.get("/v1/lateness").json()
        waiting.append((shown["waiting"], shown["meters"][0]["events"]))
    assert endpoint.BATCHES_MAX == 4
    assert waiting == [(3, 8), (0, 11), (0, 11)]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"meter": "none"}, "unknown_meter"),
        ({"from": "x"}, "invalid_period"),
        ({"from": "2015-05-01T12:00:00Z"}, "invalid_period"),
        ({"from": "2015-05-02", "to": "2015-05-01"}, "invalid_period"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    api: httpx2.Client, asked: dict[str, str], code: str
) -> None:
    answer = api.get("/v1/lateness", params=asked)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
