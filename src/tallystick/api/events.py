"""``POST /v1/events``: the one request that comes thousands of times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.requests import ClientDisconnect

from tallystick.api.bodies import read_sent_body
from tallystick.api.event_bodies import parse_events
from tallystick.api.group_append import GroupAppend
from tallystick.api.problems import Problem, problem_of
from tallystick.domain.api_keys import Scope
from tallystick.domain.events import EventStatus
from tallystick.pipeline.ingest import results
from tallystick.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as AsgiScope

    from tallystick.api.authentication import KeyCheck
    from tallystick.domain.api_keys import ApiKey
    from tallystick.pipeline.ingest import Batch, Ingest

EVENTS_PATH = "/v1/events"
HISTORY_PATH = "/v1/events/history"
"""A path of its own: a parameter that is misspelt would let history be billed."""

_encoder = msgspec.json.Encoder()


class EventsFirst:
    """Takes ``POST /v1/events`` past the router and the layers around it, which are a third of what
    a request of one event costs.
    """

    def __init__(self, events: EventsEndpoint, app: ASGIApp) -> None:
        self.events = events
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == EVENTS_PATH and scope["method"] == "POST":
            await self.events(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == EVENTS_PATH:
            problem = Problem(
                405,
                "method_not_allowed",
                f"{scope['method']} {EVENTS_PATH}: Method Not Allowed",
                {"Allow": "POST"},
            )
            await problem.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class EventsEndpoint:
    """Answers a request with events after they are durable."""

    def __init__(self, ingest: Ingest, keys: KeyCheck, *, is_history: bool = False) -> None:
        self._ingest = ingest
        self._keys = keys
        # a key that sends usage must not be able to hide it from Stripe
        self._scope = Scope.OPERATE if is_history else Scope.INGEST
        self.appends = GroupAppend(ingest, is_history=is_history)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            answer = await self._answer(dict(scope["headers"]), receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        except PortError as error:
            await problem_of(error).response()(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(answer)).encode()),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})

    async def _answer(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        key = self.key_of(headers)
        body = await read_sent_body(headers, receive)
        batch = self.batch_of(headers.get(b"content-type", b"").decode("latin-1"), body, key)
        statuses = await self.appends.append(batch.events) if batch.events else []
        return answer_of(batch, statuses)

    def key_of(self, headers: Mapping[bytes, bytes]) -> ApiKey:
        """Return the key of a request, which may send events.

        Raises:
            Problem: 401, 403.
        """
        return self._keys.check(headers.get(b"authorization", b"").decode("latin-1"), self._scope)

    def batch_of(self, content_type: str, body: bytes, key: ApiKey) -> Batch:
        """Return the events of a body, checked.

        Raises:
            Problem: the body as a whole cannot be read.
        """
        return self._ingest.check(parse_events(content_type, body), key.source)


def answer_of(batch: Batch, statuses: list[EventStatus]) -> bytes:
    """Return the body of the answer, given what became of the events that were stored."""
    return _encoder.encode(
        {
            "accepted": statuses.count(EventStatus.ACCEPTED),
            "duplicates": statuses.count(EventStatus.DUPLICATE),
            "results": results(batch, statuses),
        }
    )
