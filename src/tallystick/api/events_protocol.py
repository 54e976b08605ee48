"""HTTP with a way of its own for ``POST /v1/events``: no task and no messages between server and
application for each request, and one write for each answer.

Everything else is uvicorn's: parsing, connections, their time-outs, all other paths, and requests
that are sent before the last one is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tallystick.api.bodies import unpacking_of
from tallystick.api.events import EVENTS_PATH, EventsFirst, answer_of
from tallystick.api.problems import Problem, problem_of
from tallystick.ports.errors import PortError, UsageOverflow

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from tallystick.api.events import EventsEndpoint
    from tallystick.domain.events import EventStatus

_EVENTS_URL = EVENTS_PATH.encode()
_JSON = [(b"content-type", b"application/json")]


class EventsProtocol(HttpToolsProtocol):
    """A connection to a server whose application is an ``EventsFirst``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._endpoint = cast("EventsFirst", self.config.app).events
        self._request: _EventsRequest | None = None

    def on_headers_complete(self) -> None:
        """Take a request for events, if none is under way on this connection."""
        self._request = None
        if (
            self.url == _EVENTS_URL
            and self.parser.get_method() == b"POST"
            and self._is_free()
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and not self.flow.write_paused
        ):
            keep_alive = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
            self._request = _EventsRequest(self, self._endpoint, keep_alive=keep_alive)
            self.cycle = self._request  # type: ignore[assignment]  # as far as uvicorn looks at it
            self._request.begin(dict(self.headers))
        else:
            super().on_headers_complete()

    def _is_free(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is None or cycle.response_complete

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._request is None:
            super().on_body(body)
        else:
            self._request.feed(body)

    def on_message_complete(self) -> None:
        """Take the end of the body."""
        if self._request is None:
            super().on_message_complete()
        else:
            self._request.end()


class _NobodyWaits:
    """Stands where uvicorn wakes the application up."""

    def set(self) -> None:
        pass


class _EventsRequest:
    """One request with events. What has no docstring is what uvicorn asks of a request."""

    message_event = _NobodyWaits()

    def __init__(
        self, connection: EventsProtocol, endpoint: EventsEndpoint, *, keep_alive: bool
    ) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False

    def begin(self, headers: dict[bytes, bytes]) -> None:
        """Check what the headers say."""
        try:
            self._key = self._endpoint.key_of(headers)
            self._content_type = headers.get(b"content-type", b"").decode("latin-1")
            self._body = unpacking_of(headers)
        except Exception as error:
            self._fail(error)

    def feed(self, chunk: bytes) -> None:
        """Add a part of the body; of one that was refused the rest is left."""
        if not self.response_complete:
            try:
                self._body.feed(chunk)
            except Exception as error:
                self._fail(error)

    def end(self) -> None:
        """Have the events stored."""
        if self.response_complete:
            return
        try:
            self._batch = self._endpoint.batch_of(
                self._content_type, self._body.finish(), self._key
            )
            if self._batch.events:
                self._endpoint.appends.submit(self._batch.events, self._settle)
            else:
                self._settle([])
        except Exception as error:
            self._fail(error)

    def _settle(self, outcome: list[EventStatus] | BaseException) -> None:
        if isinstance(outcome, UsageOverflow):
            loop = self._connection.loop
            loop.create_task(self._store_singly()).add_done_callback(self._connection.tasks.discard)
        elif isinstance(outcome, BaseException):
            self._fail(outcome)
        else:
            self._answer(200, _JSON, answer_of(self._batch, outcome))

    async def _store_singly(self) -> None:
        try:
            self._settle(await self._endpoint.appends.append_singly(self._batch.events))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, PortError):
            error = problem_of(error)
        if not isinstance(error, Problem):
            self._connection.logger.error("POST %s failed", EVENTS_PATH, exc_info=error)
            error = Problem.unforeseen()
        response = error.response()
        headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
        self._answer(response.status_code, headers, bytes(response.body))

    def _answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.response_complete = True
        connection = self._connection
        transport = connection.transport
        if transport.is_closing():  # the client is gone
            return
        head = [STATUS_LINE[status]]
        for name, value in (*connection.server_state.default_headers, *headers):
            head += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            head.append(b"connection: close\r\n")
        head += (b"content-length: %d\r\n\r\n" % len(body), body)
        transport.write(b"".join(head))
        if not self.keep_alive:
            transport.close()
        connection.on_response_complete()
