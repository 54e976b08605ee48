"""Requests metered where they are answered: ASGI and WSGI middleware, and a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from tallystick.client.recorder import Client

P = ParamSpec("P")
R = TypeVar("R")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

Quantity = int | Decimal | str


class AsgiMetering:
    """Records one event for each HTTP request of an ASGI application, by account and route.

    ``customer`` says whose request it is; a request of nobody (None) is not recorded. It is asked
    after the application answered, so that what authentication put into the scope is there. The
    route is the scope's ``route`` path where a framework sets one, else the path itself.
    """

    def __init__(
        self,
        app: AsgiApp,
        client: Client,
        customer: Callable[[Message], str | None],
        event_type: str = "http_request",
    ) -> None:
        self._app = app
        self._client = client
        self._customer = customer
        self._event_type = event_type

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what a server answers for an application that fails
        sent_bytes = 0

        async def counting_send(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counting_send)
        finally:
            customer = self._customer(scope)
            if customer is not None:
                route = getattr(scope.get("route"), "path", None) or scope["path"]
                self._client.record(
                    self._event_type,
                    customer=customer,
                    value=sent_bytes,
                    properties={"method": scope["method"], "route": route, "status": status},
                )


class WsgiMetering:
    """Records one event for each request of a WSGI application, by account and route.

    ``customer`` and ``route`` are asked after the application answered; None records nothing, or
    stands for the path.
    """

    def __init__(
        self,
        app: WsgiApp,
        client: Client,
        customer: Callable[[dict[str, Any]], str | None],
        event_type: str = "http_request",
        route: Callable[[dict[str, Any]], str | None] = lambda _: None,
    ) -> None:
        self._app = app
        self._client = client
        self._customer = customer
        self._event_type = event_type
        self._route = route

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Serve one request."""
        status = "500"

        def noting_start(line: str, *arguments: Any) -> Any:
            nonlocal status
            status = line.partition(" ")[0]
            return start_response(line, *arguments)

        sent_bytes = 0
        answer: Iterable[bytes] = ()
        try:
            answer = self._app(environ, noting_start)
            for part in answer:
                sent_bytes += len(part)
                yield part
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
            self._record(environ, int(status), sent_bytes)

    def _record(self, environ: dict[str, Any], status: int, sent_bytes: int) -> None:
        customer = self._customer(environ)
        if customer is not None:
            self._client.record(
                self._event_type,
                customer=customer,
                value=sent_bytes,
                properties={
                    "method": environ["REQUEST_METHOD"],
                    "route": self._route(environ) or environ.get("PATH_INFO", "/"),
                    "status": status,
                },
            )


def metered(
    client: Client,
    event_type: str,
    *,
    customer: str | Callable[..., str],
    value: Quantity | Callable[[Any], Quantity] = 1,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record an event for each call of a function that returns; a call that raises costs nothing.

    ``customer`` is one customer, or is asked with the call's arguments; ``value`` is one quantity,
    or is asked with what the function returned. Works on functions and on coroutine functions.
    """

    def record(result: object, *args: Any, **kwargs: Any) -> None:
        client.record(
            event_type,
            customer=customer(*args, **kwargs) if callable(customer) else customer,
            value=value(result) if callable(value) else value,
        )

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                result = await function(*args, **kwargs)
                record(result, *args, **kwargs)
                return result

            return cast("Callable[P, R]", awaited)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            result = function(*args, **kwargs)
            record(result, *args, **kwargs)
            return result

        return called

    return decorate
