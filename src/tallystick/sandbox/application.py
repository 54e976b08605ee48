"""The ASGI application: reads a request, asks the gateway, sends the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.connection import CUT
from tallystick.sandbox.control import PREFIX, Control
from tallystick.sandbox.faults import Fault, fault_error
from tallystick.sandbox.lifecycle.timelines import advance, run_real_time
from tallystick.sandbox.state.persistence import read_state, restore, save
from tallystick.sandbox.state.world import World
from tallystick.sandbox.wire.errors import StripeError
from tallystick.sandbox.wire.gateway import Gateway, error_answer
from tallystick.sandbox.wire.requests import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from pathlib import Path

    from tallystick.sandbox.delivery.webhooks import Webhooks
    from tallystick.sandbox.faults import Faults, Rule
    from tallystick.sandbox.settings import Settings
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wallclock import Clock

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

TICK_S = 0.25
"""How often accounts look at real time."""
SAVE_TICKS = 8
"""Ticks between two writes of the state file: two seconds."""


class Sandbox:
    """The ASGI application of one sandbox.

    ``state`` is a file that keeps the accounts, or None to keep them in memory alone.
    """

    def __init__(self, settings: Settings, clock: Clock, state: Path | None = None) -> None:
        self.settings = settings
        self._state = state
        self._webhooks: dict[str, Webhooks] = {}
        self.world = World(settings, clock, self._account_made)
        self._control = Control(self.world)
        self._gateway = Gateway(self.world)
        self._is_changed = False

    def _account_made(self, account: Account) -> None:
        self._webhooks[account.key] = self._control.attach(account)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = await _read(scope, receive, self.settings.body_bytes_max)
        if request is None:
            await _send(send, Answer(413, b'{"error": {"message": "The request is too large."}}'))
        elif request.path.startswith(PREFIX):
            await _send(send, self._control.answer(request))
        else:
            answer = await self._serve(request)
            cut = scope.get("extensions", {}).get(CUT)
            if answer is None and cut is not None:
                cut["cut"]()
            elif answer is not None:
                await _send(send, answer)

    async def _serve(self, request: Request) -> Answer | None:
        """Return the answer to one of Stripe's addresses; None when the connection is to be cut."""
        request_id = self.world.request_ids.make("req")
        try:
            account = self._gateway.account_of(request)
        except StripeError as error:
            return _finished(error_answer(error, request, request_id), request, request_id)
        faults = (self._control.everywhere, self._control.faults_of(account.key))
        rules = _struck(faults, request)
        answer = await self._faulty(account, request, request_id, rules)
        self._is_changed = True  # not before: what is saved while a request waits lacks its effect
        outcome = {
            "status": answer.status if answer else None,
            "faults": [rule.kind.value for rule in rules],
            "replayed": bool(answer and "idempotent-replayed" in answer.headers),
        }
        self._control.record(account.key, request, request_id, outcome)
        return None if answer is None else _finished(answer, request, request_id)

    async def _faulty(
        self, account: Account, request: Request, request_id: str, rules: list[Rule]
    ) -> Answer | None:
        """Answer a request with what the rules let go wrong."""
        delay_s = 0.0
        after = None
        for rule in rules:
            if rule.kind is Fault.CUT_BEFORE:
                return None
            error = fault_error(rule, is_v2=request.is_v2)
            if error is not None:
                answer = error_answer(error, request, request_id)
                if error.saved:
                    self._gateway.save_failure(account, request, answer)
                return answer
            if rule.kind is Fault.SLOW:
                delay_s += rule.wait_s
            else:
                after = rule.kind
        answer = await self._gateway.answer(account, request, request_id, delay_s)
        if after is Fault.CUT_AFTER:
            return None
        if after is Fault.SERVER_ERROR_AFTER:
            lost = StripeError("An unknown error occurred.", status=500, type_="api_error")
            return error_answer(lost, request, request_id)
        return answer

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        ticking: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._resume()
                ticking = asyncio.ensure_future(self._tick())
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if ticking is not None:
                    ticking.cancel()
                self._save()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _resume(self) -> None:
        """Take over the state file, and go on with clocks that were advancing."""
        saved = read_state(self._state) if self._state else None
        if saved is None:
            return
        restore(self.world, saved)
        for account in self.world.accounts.values():
            for clock in account.test_clocks:
                if clock.target is not None:
                    account.keep_task(asyncio.ensure_future(advance(account, clock)))

    def _save(self) -> None:
        if self._state is not None and self._is_changed:
            self._is_changed = False
            save(self.world, self._state)

    async def _tick(self) -> None:
        """Look at real time: what falls due, error reports, and the state file."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            for key, account in list(self.world.accounts.items()):
                run_real_time(account)
                self._webhooks[key].errors.report_due()
            if ticks % SAVE_TICKS == 0:
                self._save()


def _struck(faults: Iterable[Faults], request: Request) -> list[Rule]:
    """Return the rules that strike a request; after one that ends it, no other is asked."""
    struck: list[Rule] = []
    for one in faults:
        for rule in one.of_request(request):
            struck.append(rule)
            if rule.ends_request:
                return struck
    return struck


def _finished(answer: Answer, request: Request, request_id: str) -> Answer:
    """Add the headers that every answer has."""
    answer.headers.setdefault("request-id", request_id)
    version = request.headers.get("stripe-version")
    if version is not None:
        answer.headers.setdefault("stripe-version", version)
    key = request.headers.get("idempotency-key")
    if key is not None:
        answer.headers.setdefault("idempotency-key", key)
    if request.is_v2:
        answer.headers.setdefault("stripe-request-id", request_id)
    return answer


async def _read(scope: Scope, receive: Receive, bytes_max: int) -> Request | None:
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
    if size > bytes_max:
        return None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
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
