"""Appends of many requests in one: what arrives while the store commits goes with its next commit.

One hand-over to the store's thread and one back serve all requests of a group; for requests of one
event that is most of what they cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import anyio

from tallystick.domain.events import EventStatus
from tallystick.ports.errors import StoreBusy, UsageOverflow

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tallystick.domain.events import UsageEvent
    from tallystick.pipeline.ingest import Ingest

GROUP_EVENTS_MAX = 4_000
"""Events of one append, unless a single request has more: bounds how long the first one waits."""

UNDER_WAY_MAX = 3
"""Appends with the store at once: while one is made durable others wait there, however long the
next one takes to prepare; those that wait are stored together."""

WAITING_EVENTS_MAX = 200_000
"""Events that wait for an append; more is refused, because waiting would not end."""


Settle = Callable[[list[EventStatus] | BaseException], None]
"""Takes what became of a request's events once they are durable, or why none of them is stored."""


class _Waiting(NamedTuple):
    events: list[UsageEvent]
    settle: Settle


class GroupAppend:
    """Gathers appends. Belongs to one event loop."""

    def __init__(self, ingest: Ingest, *, is_history: bool = False) -> None:
        self._ingest = ingest
        self._is_history = is_history
        self._waiting: list[_Waiting] = []
        self._waiting_events = 0
        self._under_way = 0

    def submit(self, events: list[UsageEvent], settle: Settle) -> None:
        """Have a request's events stored; ``settle`` is called in the event loop. It may be told of
        a ``UsageOverflow`` that another request caused: see ``append_singly``.

        Raises:
            StoreBusy: nothing of the request was stored.
        """
        if self._waiting_events + len(events) > WAITING_EVENTS_MAX:
            raise StoreBusy(f"{self._waiting_events} events are waiting; slow down and repeat")
        self._waiting.append(_Waiting(events, settle))
        self._waiting_events += len(events)
        if len(self._waiting) == 1 and self._under_way < UNDER_WAY_MAX:
            # after what else is ready has joined
            asyncio.get_running_loop().call_soon(self._start)

    async def append(self, events: list[UsageEvent]) -> list[EventStatus]:
        """Store a request's events and return what became of each, once they are durable.

        Raises:
            StoreUnavailable, StoreBusy: nothing of the request was stored.
        """
        answer: asyncio.Future[list[EventStatus]] = asyncio.get_running_loop().create_future()

        def settle(outcome: list[EventStatus] | BaseException) -> None:
            if answer.done():  # the client is gone
                return
            if isinstance(outcome, BaseException):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

        self.submit(events, settle)
        try:
            return await answer
        except UsageOverflow:  # of this request or of one that shared its append
            return await self.append_singly(events)

    async def append_singly(self, events: list[UsageEvent]) -> list[EventStatus]:
        """Store events one by one, so that one that overflows does not cost the others."""
        return await anyio.to_thread.run_sync(
            lambda: self._ingest.append_singly(events, is_history=self._is_history)
        )

    def _start(self) -> None:
        while self._waiting and self._under_way < UNDER_WAY_MAX:
            self._start_one()

    def _start_one(self) -> None:
        group: list[_Waiting] = []
        events: list[UsageEvent] = []
        for waiting in self._waiting:
            if events and len(events) + len(waiting.events) > GROUP_EVENTS_MAX:
                break
            group.append(waiting)
            events += waiting.events
        del self._waiting[: len(group)]
        self._waiting_events -= len(events)
        loop = asyncio.get_running_loop()
        try:
            future = self._ingest.append(events, is_history=self._is_history)
        except StoreBusy as error:
            for waiting in group:
                waiting.settle(error)
            return
        self._under_way += 1
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._finish, group, done))

    def _finish(self, group: list[_Waiting], done: Future[list[EventStatus]]) -> None:
        self._under_way -= 1
        self._start()
        error = done.exception()
        if error is not None:
            for waiting in group:
                waiting.settle(error)
            return
        statuses = done.result()
        first = 0
        for waiting in group:
            upto = first + len(waiting.events)
            waiting.settle(statuses[first:upto])
            first = upto
