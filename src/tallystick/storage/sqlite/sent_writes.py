"""Stores of a process that leaves writing to another one: it sends what comes often, and waits.

One process alone appends, then: what it remembers between commits stays true, and nobody waits for
SQLite's lock.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.ports.errors import StoreBusy, StoreOutcomeUnknown
from tallystick.storage.api_keys import StoredApiKeys
from tallystick.storage.inbox import StoredInbox
from tallystick.storage.sqlite.events import SqliteEventStore
from tallystick.storage.sqlite.frames import FRAME_BYTES_MAX, Channel, frame

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from tallystick.domain.corrections import Correction, CorrectionStatus
    from tallystick.domain.events import EventStatus
    from tallystick.ports.event_store import StoredEvent
    from tallystick.ports.inbox import ArrivedEvent
    from tallystick.storage.sqlite.database import SqliteDatabase
    from tallystick.storage.sqlite.event_columns import EventColumns

UNANSWERED_BYTES_MAX = FRAME_BYTES_MAX
"""Bytes of calls that are not answered; more is refused, because waiting would not end."""

_encoder = msgspec.msgpack.Encoder()


class WriteClient:
    """Has another process write: a ``WriteService`` at the other end of a connection.

    ``on_lost`` is called, in a thread of its own, when that process is gone.
    """

    def __init__(self, connection: socket.socket, on_lost: Callable[[], None]) -> None:
        self._channel = Channel(connection, "write-calls")
        self._on_lost = on_lost
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[Future[Any], int]] = {}
        self._unanswered_bytes = 0
        self._is_lost = False
        threading.Thread(target=self._take_answers, name="write-answers", daemon=True).start()

    def call(self, name: str, *arguments: object) -> Future[Any]:
        """Have something written; the future completes once that is durable.

        Raises:
            StoreBusy: too much is waiting for an answer.
        Raises (from the future):
            StoreOutcomeUnknown: the other process is gone.
        """
        number = next(self._numbers)
        framed = frame((number, name, arguments))
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # it will be done, whoever waits
        with self._lock:
            if self._unanswered_bytes + len(framed) > UNANSWERED_BYTES_MAX:
                raise StoreBusy(f"{len(self._waiting)} writes are waiting; slow down and repeat")
            is_lost = self._is_lost
            if not is_lost:
                self._waiting[number] = (future, len(framed))
                self._unanswered_bytes += len(framed)
        if is_lost:
            future.set_exception(_lost())
        else:
            self._channel.send(framed)
        return future

    def _take_answers(self) -> None:
        while (message := self._channel.receive()) is not None:
            number, outcome = message
            with self._lock:
                future, size = self._waiting.pop(number)
                self._unanswered_bytes -= size
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        with self._lock:
            self._is_lost = True
            left = [future for future, _ in self._waiting.values()]
            self._waiting.clear()
        for future in left:
            future.set_exception(_lost())
        self._channel.close()
        self._on_lost()


def _lost() -> StoreOutcomeUnknown:
    return StoreOutcomeUnknown(
        "the process that stores has ended; all of it was stored, or nothing: repeat the same"
    )


class SentEventStore(SqliteEventStore):
    """``EventStore`` whose writes are sent."""

    def __init__(self, database: SqliteDatabase, client: WriteClient) -> None:
        super().__init__(database)
        self._client = client

    def append_columns(
        self, columns: EventColumns, received_at: int, *, is_history: bool
    ) -> Future[list[EventStatus]]:
        """Have events appended; columns are made here, beside the process that is busy."""
        return self._client.call("append", _encoder.encode(columns), received_at, is_history)

    def correct(
        self, corrections: Sequence[Correction], now: int
    ) -> Future[list[CorrectionStatus]]:
        """Have corrections put in force."""
        return self._client.call("correct", corrections, now)

    def look_up(self, source: str, event_id: str) -> Future[StoredEvent | None]:
        """Ask for the event known under this identity."""
        return self._client.call("look_up", source, event_id)

    def warming(self) -> Future[None]:
        """Have the process that appends read what it needs."""
        return self._client.call("warm")


class SentInbox(StoredInbox):
    """``Inbox`` whose webhooks are sent."""

    def __init__(self, database: SqliteDatabase, client: WriteClient) -> None:
        super().__init__(database)
        self._client = client

    def add(self, event: ArrivedEvent, now: int) -> Future[bool]:
        """Have an event kept unless its id is known; the future says whether it was new."""
        return self._client.call("add_to_inbox", event, now)


class SentApiKeys(StoredApiKeys):
    """``ApiKeys`` whose last use is sent."""

    def __init__(self, database: SqliteDatabase, client: WriteClient) -> None:
        super().__init__(database)
        self._client = client

    def used(self, key_id: str, at: int) -> Future[None]:
        """Have kept when a key was used last."""
        return self._client.call("key_used", key_id, at)
