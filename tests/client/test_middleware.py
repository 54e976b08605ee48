"""Requests and calls metered where they are answered."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import tallystick
from tallystick.client import spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from starlette.requests import Request


class Recorded:
    """A client without a server, and what stands in its spool."""

    def __init__(self, folder: Path) -> None:
        self.client = tallystick.Client("http://127.0.0.1:9", "key", spool=folder)
        self._folder = folder

    def events(self) -> list[dict[str, Any]]:
        lines = [
            line
            for path in self._folder.glob("*.ndjson")
            for line in path.read_text("utf-8").splitlines()
        ]
        keys = ("type", "customer", "value", "properties")
        return [
            {key: event[key] for key in keys if key in event} for event in map(json.loads, lines)
        ]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    made = Recorded(tmp_path)
    yield made
    made.client.close(0)


class FrameworkRoute:
    path = "/items/{item}"


def test_asgi_requests_are_recorded_by_account_and_route(recorded: Recorded) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["account"] = scope["path"].split("/")[1] or None
        if scope["path"] == "/acme/items/1":
            scope["route"] = FrameworkRoute()
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await send({"type": "http.response.body", "body": b"678"})

    metering = tallystick.AsgiMetering(app, recorded.client, lambda scope: scope["account"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    for path in ("/acme/items/1", "/", "/other/x"):
        scope = {"type": "http", "method": "GET", "path": path}
        asyncio.run(metering(scope, receive, send))
    assert len(sent) == 9
    assert recorded.events() == [
        {
            "type": "http_request",
            "customer": "acme",
            "value": "8",
            "properties": {"method": "GET", "route": "/items/{item}", "status": 201},
        },
        {
            "type": "http_request",
            "customer": "other",
            "value": "8",
            "properties": {"method": "GET", "route": "/other/x", "status": 201},
        },
    ]


def test_an_asgi_application_that_fails_is_recorded_as_500(recorded: Recorded) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    metering = tallystick.AsgiMetering(app, recorded.client, lambda _: "acme")
    scope = {"type": "http", "method": "GET", "path": "/"}
    with pytest.raises(RuntimeError):
        asyncio.run(metering(scope, None, None))  # type: ignore[arg-type]  # never called
    assert recorded.events()[0]["properties"]["status"] == 500


def serve_asgi(metering: tallystick.AsgiMetering, **scope: Any) -> None:
    async def ignore(*_: Any) -> dict[str, Any]:
        return {}

    made = {"type": "http", "method": "GET", "path": "/"} | scope
    asyncio.run(metering(made, ignore, ignore))  # type: ignore[arg-type]  # takes what both do


async def answer_ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"12345"})


def test_an_application_names_its_asgi_routes(recorded: Recorded) -> None:
    metering = tallystick.AsgiMetering(
        answer_ok,
        recorded.client,
        lambda _: "acme",
        route=lambda scope: "/r" if scope["path"] == "/named" else None,
    )
    serve_asgi(metering, path="/named")
    serve_asgi(metering, path="/other")
    routes = [event["properties"]["route"] for event in recorded.events()]
    assert routes == ["/r", "/other"]


def test_a_starlette_application_is_metered_by_its_routes(recorded: Recorded) -> None:
    async def item(request: Request) -> PlainTextResponse:
        request.state.account = request.path_params["account"]
        return PlainTextResponse("four")

    app = Starlette(
        routes=[Route("/{account}/items", item)],
        middleware=[
            Middleware(
                tallystick.AsgiMetering,
                client=recorded.client,
                customer=lambda scope: scope.get("state", {}).get("account"),
            )
        ],
    )
    with TestClient(app) as caller:
        assert caller.get("/acme/items").text == "four"
        assert caller.get("/nobody").status_code == 404
    assert recorded.events() == [
        {
            "type": "http_request",
            "customer": "acme",
            "value": "4",
            "properties": {"method": "GET", "route": "/{account}/items", "status": 200},
        }
    ]


def test_an_answer_to_head_has_no_bytes(recorded: Recorded) -> None:
    metering = tallystick.AsgiMetering(answer_ok, recorded.client, lambda _: "acme")
    serve_asgi(metering, method="HEAD")
    assert recorded.events()[0]["value"] == "0"


def test_a_file_that_the_server_sends_is_counted(recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 700)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})

    serve_asgi(tallystick.AsgiMetering(app, recorded.client, lambda _: "acme"))
    assert recorded.events()[0]["value"] == "700"


def test_a_path_of_any_length_is_metered(recorded: Recorded) -> None:
    metering = tallystick.AsgiMetering(answer_ok, recorded.client, lambda _: "acme")
    serve_asgi(metering, path="/" + "\u00e4" * 60_000)
    assert recorded.events()[0]["properties"]["route"] == "/" + "\u00e4" * 1_023


def test_a_full_spool_fails_no_request_and_no_call_and_says_what_was_lost(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool, "SPOOL_BYTES_MAX", 0)
    serve_asgi(tallystick.AsgiMetering(answer_ok, recorded.client, lambda _: "acme"))
    wsgi = tallystick.WsgiMetering(lambda *_: [b"ok"], recorded.client, lambda _: "acme")
    assert list(wsgi({"REQUEST_METHOD": "GET"}, lambda *_: None)) == [b"ok"]

    @tallystick.metered(recorded.client, "jobs", customer="acme")
    def work() -> int:
        return 7

    assert work() == 7
    assert (recorded.client.metrics.recorded, recorded.client.metrics.refused) == (0, 3)
    assert caplog.text.count("usage of acme is lost") == 3


def test_what_is_no_http_request_is_passed_on(recorded: Recorded) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    metering = tallystick.AsgiMetering(app, recorded.client, lambda _: "acme")
    asyncio.run(metering({"type": "lifespan"}, None, None))  # type: ignore[arg-type]  # never called
    assert seen == ["lifespan"]
    assert recorded.events() == []


def test_wsgi_requests_are_recorded_by_account_and_route(recorded: Recorded) -> None:
    closed = []

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"123", b"45"])

        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("404 Not Found", [])
        return Answer()

    started = []
    metering = tallystick.WsgiMetering(
        app, recorded.client, lambda environ: environ.get("account"), route=lambda _: "/r"
    )
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/x", "account": "acme"}
    assert b"".join(metering(environ, lambda line, _: started.append(line))) == b"12345"
    assert list(metering({"REQUEST_METHOD": "GET"}, lambda *_: None)) == [b"123", b"45"]
    assert started == ["404 Not Found"]
    assert closed == [True, True]
    assert recorded.events() == [
        {
            "type": "http_request",
            "customer": "acme",
            "value": "5",
            "properties": {"method": "POST", "route": "/r", "status": 404},
        }
    ]


def test_what_a_wsgi_application_writes_is_counted(recorded: Recorded) -> None:
    written: list[bytes] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"123")
        return [b"45"]

    metering = tallystick.WsgiMetering(app, recorded.client, lambda _: "acme")
    assert list(metering({"REQUEST_METHOD": "GET"}, lambda *_: written.append)) == [b"45"]
    assert written == [b"123"]
    assert recorded.events()[0]["value"] == "5"


def test_a_wsgi_application_that_fails_is_recorded_as_500(recorded: Recorded) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise RuntimeError("broken")

    metering = tallystick.WsgiMetering(app, recorded.client, lambda _: "acme")
    with pytest.raises(RuntimeError):
        list(metering({"REQUEST_METHOD": "GET"}, lambda *_: None))
    assert recorded.events()[0]["properties"] == {"method": "GET", "route": "/", "status": 500}


def test_a_generator_cannot_be_metered(recorded: Recorded) -> None:
    meter = tallystick.metered(recorded.client, "tokens", customer="acme")

    def each() -> Iterator[int]:
        yield 1

    async def each_later() -> AsyncIterator[int]:
        yield 1

    for function in (each, each_later):
        with pytest.raises(TypeError, match="is a generator"):
            meter(function)


def test_a_metered_function_records_each_call_that_returns(recorded: Recorded) -> None:
    @tallystick.metered(recorded.client, "tokens", customer=lambda account, _: account, value=len)
    def complete(account: str, prompt: str) -> str:
        if not prompt:
            raise ValueError("nothing to complete")
        return prompt * 2

    assert complete("acme", "abc") == "abcabc"
    assert complete.__name__ == "complete"
    with pytest.raises(ValueError, match="nothing"):
        complete("acme", "")
    assert recorded.events() == [{"type": "tokens", "customer": "acme", "value": "6"}]


def test_a_metered_coroutine_function_records_when_it_is_done(recorded: Recorded) -> None:
    @tallystick.metered(recorded.client, "jobs", customer="acme")
    async def work() -> int:
        return 7

    assert asyncio.run(work()) == 7
    assert recorded.events() == [{"type": "jobs", "customer": "acme", "value": "1"}]
