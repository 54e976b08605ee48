"""Events without ids: of a source that derives them, and of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.domain.catalog.reading import catalog_from_mapping
from tallystick.domain.derived_ids import derived_id
from tallystick.domain.instants import SECOND_US, parse_instant

if TYPE_CHECKING:
    import httpx2

    from tallystick.wiring import Tallystick
    from tests.fixtures.clock import FakeClock

TIME = "2015-05-18T10:00:00.25Z"
BARE = {"type": "http_request", "customer": "acme", "time": TIME, "value": 7}
DERIVED = derived_id("gateway", "http_request", "acme", parse_instant(TIME))


def declare(product: Tallystick, clock: FakeClock, *, derives: bool) -> None:
    declared = {"sources": {"gateway": {"derive_ids": derives}}}
    product.catalog.keep(catalog_from_mapping(declared), {}, {}, clock.now())
    clock.advance(SECOND_US)  # so that ingest looks again


@pytest.fixture(autouse=True)
def declared(product: Tallystick, clock: FakeClock) -> None:
    """The source ``gateway`` derives ids."""
    declare(product, clock, derives=True)


def results(api: httpx2.Client, *events: Any, **headers: str) -> list[tuple[Any, ...]]:
    answer = api.post("/v1/events", json=list(events), headers=headers)
    return [(each["id"], each["status"], each["code"]) for each in answer.json()["results"]]


def test_an_event_without_an_id_is_known_by_what_it_says(api: httpx2.Client) -> None:
    event = {**BARE, "source": "gateway"}
    assert results(api, event) == [(DERIVED, "accepted", None)]
    same_instant = {**event, "time": "2015-05-18T12:00:00.250000+02:00"}
    assert results(api, event, same_instant) == [(DERIVED, "duplicate", None)] * 2
    assert results(api, {**event, "id": DERIVED}) == [(DERIVED, "duplicate", None)]
    assert results(api, {**event, "value": 8}) == [(DERIVED, "conflict", "event_conflict")]
    void = api.post(
        "/v1/events/void", json={"id": DERIVED, "source": "gateway", "reason": "a test"}
    )
    assert void.json()["corrected"] == 1


@pytest.mark.parametrize(
    "changed",
    [{"customer": "other"}, {"time": "2015-05-18T10:00:00.250001Z"}],
)
def test_another_customer_or_microsecond_is_another_event(
    api: httpx2.Client, changed: dict[str, str]
) -> None:
    event = {**BARE, "source": "gateway"}
    found = results(api, event, {**event, **changed})
    assert [status for _, status, _ in found] == ["accepted", "accepted"]
    assert found[0][0] != found[1][0]


def test_an_id_that_was_sent_is_the_events_id(api: httpx2.Client) -> None:
    assert results(api, {**BARE, "source": "gateway", "id": "mine"}) == [("mine", "accepted", None)]


@pytest.mark.parametrize("source", [{}, {"source": "other"}])
def test_other_sources_are_refused_by_name_and_their_neighbours_kept(
    api: httpx2.Client, source: dict[str, str]
) -> None:
    found = results(api, {**BARE, "id": "1"}, {**BARE, **source}, {**BARE, "id": "2"})
    assert found == [
        ("1", "accepted", None),
        (None, "invalid", "id_missing"),
        ("2", "accepted", None),
    ]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"id": None}, "id_invalid"),
        ({"id": ""}, "id_missing"),
        ({"customer": ""}, "customer_missing"),
        ({"customer": "a\u0000b"}, "customer_invalid"),
        ({"type": "no_such_type"}, "unknown_event_type"),
        ({"time": "2125-05-18T10:00:00Z"}, "time_in_future"),
        ({"value": "0.5"}, "value_too_many_decimals"),
    ],
)
def test_it_passes_every_other_check(api: httpx2.Client, wrong: dict[str, Any], code: str) -> None:
    ((_, status, found),) = results(api, {**BARE, "source": "gateway", **wrong})
    assert (status, found) == ("invalid", code)


def test_the_option_is_switched_off_by_name(
    api: httpx2.Client, product: Tallystick, clock: FakeClock
) -> None:
    event = {**BARE, "source": "gateway"}
    product.catalog.keep(catalog_from_mapping({}), {}, {}, clock.now())
    clock.advance(SECOND_US)
    assert results(api, event) == [(DERIVED, "accepted", None)]
    declare(product, clock, derives=False)
    assert results(api, event) == [(None, "invalid", "id_missing")]


def test_every_form_of_a_body_goes_through_the_same_door(api: httpx2.Client) -> None:
    event = {**BARE, "source": "gateway"}
    cloud = {
        "specversion": "1.0",
        "source": "gateway",
        "type": "http_request",
        "subject": "acme",
        "time": TIME,
        "data": {"value": 7},
    }
    bodies = [
        ("application/json", json.dumps(event)),
        ("application/x-ndjson", json.dumps(event) + "\n"),
        ("application/cloudevents+json", json.dumps(cloud)),
        ("application/cloudevents-batch+json", json.dumps([cloud])),
    ]
    for number, (content_type, body) in enumerate(bodies):
        answer = api.post("/v1/events", content=body, headers={"Content-Type": content_type})
        (result,) = answer.json()["results"]
        assert result["id"] == DERIVED
        assert result["status"] == ("duplicate" if number else "accepted"), content_type
    history = api.post("/v1/events/history", json=event).json()
    assert history["results"][0]["status"] == "duplicate"
