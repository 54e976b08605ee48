"""Keys over real HTTP: what each may do, until when, for which source, and that its use is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tallystick.api.openapi import openapi_document
from tallystick.domain.api_keys import ALL_SCOPES, Scope
from tallystick.domain.instants import DAY_US, SECOND_US, format_instant
from tallystick.ports.errors import StoreBusy
from tests.fixtures.keys import key_for
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.served import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.wiring import Tallystick
    from tests.fixtures.clock import FakeClock

EVENT = {"type": "http_request", "customer": "acme", "time": "2015-05-18T10:00:00Z"}

OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in openapi_document()["paths"].items()
    for method, operation in methods.items()
]
OPEN = [("POST", "/webhooks/stripe"), ("GET", "/openapi.json"), ("GET", "/healthz")]
KEYED = [
    (method, path, operation["security"][0]["key"][0])
    for method, path, operation in OPERATIONS
    if (method, path) not in OPEN
]


@pytest.fixture
def server(product: Tallystick) -> Iterator[Served]:
    with served(product) as made:
        yield made


def sent(server: Served, method: str, path: str, key: str | None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    where = server.url + path.replace("{customer}", "acme").replace("{id}", "1")
    return httpx2.request(method, where, headers=headers, timeout=PATIENCE_SECONDS)


def test_every_operation_names_one_scope_but_those_that_are_open() -> None:
    for method, path, operation in OPERATIONS:
        if (method, path) in OPEN:
            assert operation["security"] == []
        else:
            ((needed,),) = (each["key"] for each in operation["security"])
            assert needed in ALL_SCOPES
            assert {"401", "403"} <= operation["responses"].keys(), path


def test_every_route_demands_the_scope_that_is_documented(
    product: Tallystick, server: Served
) -> None:
    enough = {scope: key_for(product, f"only {scope}", {scope}) for scope in Scope}
    others = {scope: key_for(product, f"no {scope}", ALL_SCOPES - {scope}) for scope in Scope}
    assert len(KEYED) >= 15
    for method, path, named in KEYED:
        needed = Scope(named)
        without = sent(server, method, path, None)
        assert (without.status_code, without.json()["code"]) == (401, "unauthorized"), path
        assert without.headers["www-authenticate"] == "Bearer"

        refused = sent(server, method, path, others[needed])
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (403, "scope_missing"), path
        assert problem["scope"] == needed, path
        assert f"needs the scope {needed}" in problem["detail"]
        assert f'scope="{needed}"' in refused.headers["www-authenticate"]

        assert sent(server, method, path, enough[needed]).status_code not in (401, 403), path


def test_there_is_no_route_without_a_description(product: Tallystick) -> None:
    from tallystick.api.app import create_app

    routed: Any = create_app(product)._app  # type: ignore[attr-defined]  # behind EventsFirst
    described = {path.replace("{customer}", "{customer:path}") for _, path, _ in OPERATIONS}
    found = {route.path.replace("{id:int}", "{id}") for route in routed.routes}
    assert found | {"/v1/events"} == described


def test_a_key_may_be_used_until_it_expires(
    product: Tallystick, server: Served, clock: FakeClock
) -> None:
    expires_at = clock.now() + DAY_US
    key = key_for(product, "short", expires_at=expires_at)
    assert sent(server, "GET", "/v1/outbox", key).status_code == 200
    clock.advance(DAY_US - 1)
    assert sent(server, "GET", "/v1/outbox", key).status_code == 200
    clock.advance(SECOND_US)
    expired = sent(server, "GET", "/v1/outbox", key)
    assert (expired.status_code, expired.json()["code"]) == (401, "key_expired")
    assert format_instant(expires_at) in expired.json()["detail"]


def test_a_revoked_key_is_refused_within_a_second(
    product: Tallystick, server: Served, clock: FakeClock
) -> None:
    key = key_for(product, "lost")
    assert sent(server, "POST", "/v1/events", key).status_code == 400
    (lost,) = (each for each in product.api_keys.listed() if each.name == "lost")
    product.api_keys.revoke(lost.id, clock.now())
    clock.advance(SECOND_US)
    for method, path in (("POST", "/v1/events"), ("GET", "/v1/outbox")):
        refused = sent(server, method, path, key)
        assert (refused.status_code, refused.json()["code"]) == (401, "key_revoked")
        assert lost.id in refused.json()["detail"]


def test_a_key_of_one_source_sends_and_corrects_no_other(
    product: Tallystick, server: Served
) -> None:
    bound = {"Authorization": f"Bearer {key_for(product, 'edge', ALL_SCOPES, source='eu')}"}
    events = [
        {**EVENT, "id": "1", "source": "eu"},
        {**EVENT, "id": "2", "source": "us"},
        {**EVENT, "id": "3"},
        {**EVENT, "id": "4", "source": "eu"},
    ]
    for path in ("/v1/events", "/v1/events/history"):
        answer = httpx2.post(
            server.url + path, json=events, headers=bound, timeout=PATIENCE_SECONDS
        ).json()
        found = [(each["id"], each["code"]) for each in answer["results"]]
        assert found == [
            ("1", None),
            ("2", "source_forbidden"),
            ("3", "source_forbidden"),
            ("4", None),
        ]
    assert product.events.count() == 2
    httpx2.post(
        f"{server.url}/v1/events", json=events, headers=server.headers, timeout=PATIENCE_SECONDS
    )
    voids = [
        {"id": each["id"], "source": each.get("source", "default"), "reason": "x"}
        for each in events
    ]
    answer = httpx2.post(
        f"{server.url}/v1/events/void", json=voids, headers=bound, timeout=PATIENCE_SECONDS
    ).json()
    assert [(each["id"], each["status"], each["code"]) for each in answer["results"]] == [
        ("1", "corrected", None),
        ("2", "invalid", "source_forbidden"),
        ("3", "invalid", "source_forbidden"),
        ("4", "corrected", None),
    ]


def used_at(product: Tallystick, name: str) -> int | None:
    (found,) = (each for each in product.api_keys.listed() if each.name == name)
    return found.last_used_at


def settled(product: Tallystick) -> None:
    """Wait until the writer has done what was asked of it so far."""
    product.api_keys.used("nobody", 0).result()


def test_the_last_use_is_kept_no_more_often_than_once_a_minute(
    product: Tallystick, server: Served, clock: FakeClock
) -> None:
    key = key_for(product, "busy", {Scope.READ})
    assert used_at(product, "busy") is None
    began_at = clock.now()
    for second in range(0, 120, 15):
        assert sent(server, "GET", "/v1/outbox", key).status_code == 200
        settled(product)
        at = used_at(product, "busy")
        assert at == began_at + second // 60 * 60 * SECOND_US
        clock.advance(15 * SECOND_US)
    clock.advance(DAY_US)
    sent(server, "POST", "/v1/events", key)  # refused for its scope, and used all the same
    settled(product)
    assert used_at(product, "busy") == began_at + 120 * SECOND_US + DAY_US


def test_a_use_that_cannot_be_kept_costs_the_request_nothing(
    product: Tallystick, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(key_id: str, at: int) -> None:
        raise StoreBusy("more waits than can be stored")

    monkeypatch.setattr(product.api_keys, "used", refuse)
    key = key_for(product, "busy", {Scope.READ})
    assert sent(server, "GET", "/v1/outbox", key).status_code == 200


def test_keys_are_made_listed_and_revoked_by_an_admin(api: httpx2.Client, clock: FakeClock) -> None:
    until = format_instant(clock.now() + DAY_US)
    made = api.post(
        "/v1/keys", json={"name": "edge", "scopes": ["ingest"], "source": "eu", "expires_at": until}
    ).json()
    assert made["key"].startswith("tsk_")
    shown = {name: value for name, value in made.items() if name != "key"}
    assert shown == {
        "id": made["id"],
        "name": "edge",
        "scopes": ["ingest"],
        "source": "eu",
        "status": "active",
        "created_at": format_instant(clock.now()),
        "expires_at": until,
        "revoked_at": None,
        "last_used_at": None,
    }
    assert api.get("/v1/keys").json()["keys"][1:] == [shown]
    clock.advance(SECOND_US)
    revoked = api.post(f"/v1/keys/{made['id']}/revoke").json()
    assert revoked == {
        **shown,
        "status": "revoked",
        "revoked_at": format_instant(clock.now()),
    }
    assert api.post("/v1/keys/edge/revoke").json() == revoked


def test_the_usual_scopes_are_those_of_a_product_and_of_a_source(api: httpx2.Client) -> None:
    assert api.post("/v1/keys", json={"name": "a"}).json()["scopes"] == ["ingest", "read"]
    bound = api.post("/v1/keys", json={"name": "b", "source": "eu"}).json()
    assert bound["scopes"] == ["ingest"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_body"),
        ({"name": ""}, "invalid_body"),
        ({"name": "x", "scopes": ["root"]}, "invalid_body"),
        ({"name": "x", "scope": "read"}, "invalid_body"),
        ({"name": "  "}, "name_missing"),
        ({"name": "a\nb"}, "name_invalid"),
        ({"name": "x", "source": "a\u0000b"}, "source_invalid"),
        ({"name": "x", "expires_at": "soon"}, "invalid_expiry"),
        ({"name": "x", "expires_at": "2015-05-01T00:00:00Z"}, "expiry_passed"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_name(
    api: httpx2.Client, product: Tallystick, body: dict[str, object], code: str
) -> None:
    answer = api.post("/v1/keys", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert len(product.api_keys.listed()) == 1


def test_which_key_is_meant_must_be_clear(api: httpx2.Client) -> None:
    ids = [api.post("/v1/keys", json={"name": "twin"}).json()["id"] for _ in range(2)]
    answer = api.post("/v1/keys/twin/revoke")
    assert (answer.status_code, answer.json()["code"]) == (409, "key_ambiguous")
    assert all(key_id in answer.json()["detail"] for key_id in ids)
    assert api.post(f"/v1/keys/{ids[0]}/revoke").status_code == 200
    assert api.post("/v1/keys/twin/revoke").json()["id"] == ids[1]
    answer = api.post("/v1/keys/nobody/revoke")
    assert (answer.status_code, answer.json()["code"]) == (404, "key_not_found")
