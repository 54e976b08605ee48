"""Requests metered where they are answered: ASGI and WSGI middleware, and a decorator."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast

from tallystick.client.spool import SpoolFull

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

ROUTE_CHARS_MAX = 1_024
"""Characters of a path that are kept: a longer one would make its request impossible to record."""

_log = logging.getLogger("tallystick.client")


class AsgiMetering:
    """Records one event for each HTTP request of an ASGI application, by account and route.

    ``customer`` says whose request it is; a request of nobody (None) is not recorded. It is asked
    after the application answered, so that what authentication put into the scope is there, and so
    is ``route``: where that is None or says None, the route is the path of the scope's ``route``
    where a framework sets one, else the request's own path.

    A spool without room does not fail the request, which was answered: the event is lost, logged as
    an error and counted in ``metrics.refused``.
    """

    def __init__(
        self,
        app: AsgiApp,
        client: Client,
        customer: Callable[[Message], str | None],
        event_type: str = "http_request",
        route: Callable[[Message], str | None] | None = None,
    ) -> None:
        self._app = app
        self._client = client
        self._customer = customer
        self._event_type = event_type
        self._route = route

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what a server answers for an application that fails
        sent_bytes = 0

        async def counting_send(message: Message) -> None:
            nonlocal status, sent_bytes
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            elif message["type"] == "http.response.pathsend":
                sent_bytes += Path(message["path"]).stat().st_size

        try:
            await self._app(scope, receive, counting_send)
        finally:
            customer = self._customer(scope)
            if customer is not None:
                request = _Request(scope["method"], self._route_of(scope), status, sent_bytes)
                _record_request(self._client, self._event_type, customer, request)

    def _route_of(self, scope: Message) -> str:
        named = self._route(scope) if self._route else None
        return named or getattr(scope.get("route"), "path", None) or scope["path"]


class WsgiMetering:
    """Records one event for each request of a WSGI application, by account and route.

    ``customer`` and ``route`` are asked after the application answered; None records nothing, or
    stands for the path. A spool without room does what it does in ``AsgiMetering``.
    """

    def __init__(
        self,
        app: WsgiApp,
        client: Client,
        customer: Callable[[dict[str, Any]], str | None],
        event_type: str = "http_request",
        route: Callable[[dict[str, Any]], str | None] | None = None,
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
        sent_bytes = 0

        def noting_start(line: str, *arguments: Any) -> Callable[[bytes], Any]:
            nonlocal status
            status = line.partition(" ")[0]
            write: Callable[[bytes], Any] = start_response(line, *arguments)

            def counting_write(part: bytes) -> None:
                nonlocal sent_bytes
                write(part)
                sent_bytes += len(part)

            return counting_write

        answer: Iterable[bytes] = ()
        try:
            answer = self._app(environ, noting_start)
            for part in answer:
                sent_bytes += len(part)
                yield part
        finally:
            try:
                close = getattr(answer, "close", None)
                if close is not None:
                    close()
            finally:
                self._record(environ, int(status), sent_bytes)

    def _record(self, environ: dict[str, Any], status: int, sent_bytes: int) -> None:
        customer = self._customer(environ)
        if customer is not None:
            named = self._route(environ) if self._route else None
            route = named or environ.get("PATH_INFO") or "/"
            request = _Request(environ["REQUEST_METHOD"], route, status, sent_bytes)
            _record_request(self._client, self._event_type, customer, request)


class _Request(NamedTuple):
    method: str
    route: str
    status: int
    sent_bytes: int


def _record_request(client: Client, event_type: str, customer: str, request: _Request) -> None:
    properties = {
        "method": request.method,
        "route": request.route[:ROUTE_CHARS_MAX],
        "status": request.status,
    }
    # a server sends no body in answer to HEAD, whatever the application makes
    value = 0 if request.method == "HEAD" else request.sent_bytes
    with _logged_if_full(customer):
        client.record(event_type, customer=customer, value=value, properties=properties)


@contextmanager
def _logged_if_full(customer: str) -> Iterator[None]:
    """What was metered is done: its caller cannot undo it, and must not lose its result."""
    try:
        yield
    except SpoolFull as error:
        _log.error("usage of %s is lost: %s", customer, error)


def metered(
    client: Client,
    event_type: str,
    *,
    customer: str | Callable[..., str],
    value: Quantity | Callable[[Any], Quantity] = 1,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record an event for each call of a function that returns; a call that raises costs nothing.

    ``customer`` is one customer, or is asked with the call's arguments; ``value`` is one quantity,
    or is asked with what the function returned. Works on functions and on coroutine functions, and
    keeps their signatures. A spool without room does what it does in ``AsgiMetering``.

    Raises:
        TypeError: the function is a generator, whose call returns before it has done anything.
    """

    def record(result: object, *args: Any, **kwargs: Any) -> None:
        whose = customer(*args, **kwargs) if callable(customer) else customer
        quantity = value(result) if callable(value) else value
        with _logged_if_full(whose):
            client.record(event_type, customer=whose, value=quantity)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator; record where it ends instead")
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
