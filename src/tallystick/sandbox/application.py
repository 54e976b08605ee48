"""The ASGI application: reads a request, asks the gateway, sends the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.lifecycle.timelines import run_real_time
from tallystick.sandbox.state.world import World
from tallystick.sandbox.wire.errors import StripeError
from tallystick.sandbox.wire.gateway import Gateway, error_answer
from tallystick.sandbox.wire.requests import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from tallystick.sandbox.settings import Settings
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wallclock import Clock

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

TICK_S = 0.25
"""How often accounts look at real time."""


class Sandbox:
    """The ASGI application of one sandbox."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.world = World(settings, clock, self._account_made)
        self._gateway = Gateway(self.world)

    def _account_made(self, account: Account) -> None:
        """Prepare a new account."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = await _read(scope, receive, self.settings.body_bytes_max)
        answer = await self._answer(request)
        await _send(send, answer)

    async def _answer(self, request: Request) -> Answer:
        request_id = self.world.request_ids.make("req")
        try:
            account = self._gateway.account_of(request)
        except StripeError as error:
            answer = error_answer(error, request, request_id)
        else:
            answer = self._gateway.answer(account, request, request_id)
        answer.headers.setdefault("request-id", request_id)
        return answer

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        ticking: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                ticking = asyncio.ensure_future(self._tick())
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if ticking is not None:
                    ticking.cancel()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for account in list(self.world.accounts.values()):
                run_real_time(account)


async def _read(scope: Scope, receive: Receive, bytes_max: int) -> Request:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= bytes_max:
            chunks.append(chunk)
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    if size > bytes_max:
        headers["x-too-large"] = "1"
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=b"".join(chunks),
    )


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer.body)).encode()),
        *(
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers.items()
        ),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
