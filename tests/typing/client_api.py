"""What a type checker says of the public API; checked, never run.

A line that must be an error carries the ignore of exactly that error: mypy complains when the error
is not there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type
from wsgiref.types import StartResponse, WSGIEnvironment

import tallystick
from tallystick import AsgiMetering, Client, ClientMetrics, SpoolFull, WsgiMetering, metered

client = Client("http://127.0.0.1:8787", "key", spool=Path("spool"), source="app")
Client("http://127.0.0.1:8787", "key", spool="spool")
Client("http://127.0.0.1:8787")  # type: ignore[call-arg]
Client("http://127.0.0.1:8787", "key", "spool")  # type: ignore[call-arg]
Client("http://127.0.0.1:8787", "key", spool=1)  # type: ignore[arg-type]

# record: exact values only, and everything but the type by name
assert_type(client.record("api_requests", customer="acme"), str)
client.record("api_requests", customer="acme", value=1)
client.record("api_requests", customer="acme", value=Decimal("0.1"))
client.record("api_requests", customer="acme", value="0.1", id="mine", time=datetime.now(UTC))
client.record("api_requests", customer="acme", properties={"region": "eu", "tokens": 7})
client.record("api_requests", customer="acme", value=0.1)  # type: ignore[arg-type]
client.record("api_requests", customer="acme", value=None)  # type: ignore[arg-type]
client.record("api_requests", customer="acme", time="2015-05-18")  # type: ignore[arg-type]
client.record("api_requests", customer="acme", properties={1: 2})  # type: ignore[dict-item]
client.record("api_requests", customer=7)  # type: ignore[arg-type]
client.record("api_requests", "acme")  # type: ignore[call-arg]
client.record("api_requests")  # type: ignore[call-arg]
client.record("api_requests", customer="acme", amount=1)  # type: ignore[call-arg]

# ends and figures
assert_type(client.flush(), bool)
assert_type(client.flush(timeout=1.5), bool)
assert_type(client.close(0), bool)
assert_type(client.metrics, ClientMetrics)
assert_type(client.metrics.accepted, int)
assert_type(client.metrics.refused, int)
assert_type(client.metrics.last_error, str | None)
client.metrics.accepted = 1  # type: ignore[misc]
assert_type(tallystick.__version__, str)


async def uses_it_as_a_context() -> None:
    with Client("http://127.0.0.1:8787", "key") as opened:
        assert_type(opened, Client)
    async with Client("http://127.0.0.1:8787", "key") as opened_too:
        assert_type(opened_too, Client)
        assert_type(await opened_too.flush_async(1), bool)


def catches_a_full_disk() -> None:
    try:
        client.record("api_requests", customer="acme")
    except SpoolFull as full:
        assert_type(full.errno, int | None)
        error: OSError = full
        raise error from None


# @metered keeps the signature, of functions, coroutine functions and methods
@metered(client, "tokens", customer=lambda account, *_: account, value=len)
def complete(account: str, prompt: str, limit: int = 10) -> str:
    return prompt[:limit] + account


complete_as: Callable[[str, str], str] = complete
assert_type(complete("acme", "hello", limit=3), str)
complete("acme")  # type: ignore[call-arg]
complete("acme", 7)  # type: ignore[arg-type]
complete("acme", "hello", maximum=3)  # type: ignore[call-arg]


@metered(client, "jobs", customer="acme")
async def work(seconds: int) -> Decimal:
    return Decimal(seconds)


work_as: Callable[[int], Coroutine[Any, Any, Decimal]] = work


async def awaits_it() -> None:
    assert_type(await work(1), Decimal)
    await work("long")  # type: ignore[arg-type]
    work(1)  # type: ignore[unused-coroutine]


class Service:
    @metered(client, "calls", customer=lambda _, account: account, value=lambda answer: answer)
    def call(self, account: str) -> int:
        return len(account)


assert_type(Service().call("acme"), int)
Service().call(7)  # type: ignore[arg-type]

metered(client, "jobs")  # type: ignore[call-arg]
metered(client, "jobs", customer=7)  # type: ignore[arg-type]
metered(client, "jobs", customer="acme", value=0.5)  # type: ignore[arg-type]
metered("client", "jobs", customer="acme")  # type: ignore[arg-type]

# middleware takes what the two standards call an application, and is one
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    await send(await receive())


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


asgi: Callable[[Scope, Receive, Send], Awaitable[None]] = AsgiMetering(
    asgi_app, client, customer=lambda scope: scope.get("account"), route=lambda _: None
)
wsgi: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]] = WsgiMetering(
    wsgi_app, client, customer=lambda environ: environ.get("account")
)
AsgiMetering(wsgi_app, client, customer=lambda _: None)  # type: ignore[arg-type]
AsgiMetering(asgi_app, client, customer=lambda _: 7)  # type: ignore[arg-type, return-value]
AsgiMetering(asgi_app, client)  # type: ignore[call-arg]
WsgiMetering(asgi_app, client, customer=lambda _: None)  # type: ignore[arg-type]
