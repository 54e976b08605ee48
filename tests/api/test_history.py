"""POST /v1/events/history: usage that counts and that Stripe is never told of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tallystick.domain.api_keys import ALL_SCOPES, Scope
from tallystick.domain.instants import parse_instant
from tallystick.domain.periods import Period
from tests.fixtures.keys import key_for

if TYPE_CHECKING:
    import httpx2

    from tallystick.wiring import Tallystick

MAY = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))


def post(api: httpx2.Client, path: str, *ids: str) -> list[str]:
    events = [
        {
            "id": id_,
            "type": "http_request",
            "customer": "acme",
            "time": "2015-05-18T10:00:00Z",
            "value": 7,
        }
        for id_ in ids
    ]
    answer = api.post(path, json=events)
    assert answer.status_code == 200, answer.text
    return [result["status"] for result in answer.json()["results"]]


def test_history_is_usage_of_which_nothing_is_reported(
    api: httpx2.Client, product: Tallystick
) -> None:
    assert post(api, "/v1/events/history", "a", "b") == ["accepted", "accepted"]
    assert post(api, "/v1/events", "c") == ["accepted"]
    shown = api.get("/v1/customers/acme/usage", params={"from": "2015-05-01"}).json()["usage"]
    assert [meter["quantity"] for meter in shown] == ["3", "21"]
    requests, size = product.catalog.meters().by_key.values()
    measured = product.usage.usage_and_history(requests, "acme", MAY)
    assert measured.live_count == 1
    assert measured.reportable(requests.aggregation) == 1
    measured = product.usage.usage_and_history(size, "acme", MAY)
    assert measured.reportable(size.aggregation) == 7


def test_what_was_sent_first_decides(api: httpx2.Client, product: Tallystick) -> None:
    post(api, "/v1/events/history", "a")
    post(api, "/v1/events", "b")
    assert post(api, "/v1/events", "a") == ["duplicate"]
    assert post(api, "/v1/events/history", "b", "b2") == ["duplicate", "accepted"]
    found = {id_: product.events.find("default", id_) for id_ in ("a", "b", "b2")}
    assert {id_: event and event.is_history for id_, event in found.items()} == {
        "a": True,
        "b": False,
        "b2": True,
    }


def test_what_sends_usage_cannot_hide_it(api: httpx2.Client, product: Tallystick) -> None:
    key = key_for(product, "server", ALL_SCOPES - {Scope.OPERATE})
    refused = api.post("/v1/events/history", json=[], headers={"Authorization": f"Bearer {key}"})
    assert refused.status_code == 403
    assert "operate" in refused.json()["detail"]


def test_history_needs_a_key_and_a_post(api: httpx2.Client) -> None:
    refused = api.post("/v1/events/history", json=[], headers={"Authorization": "Bearer wrong"})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    refused = api.get("/v1/events/history")
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    refused = api.post("/v1/events/histroy", content=json.dumps([]))
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
