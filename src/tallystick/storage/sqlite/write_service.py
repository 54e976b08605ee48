"""Writes that API processes send, done by the one process that stores."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.storage.sqlite.event_columns import EventColumns
from tallystick.storage.sqlite.frames import Channel, frame

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from concurrent.futures import Future

    from tallystick.domain.events import EventStatus
    from tallystick.ports.api_keys import ApiKeys
    from tallystick.ports.inbox import Inbox
    from tallystick.storage.sqlite.events import SqliteEventStore

_columns = msgspec.msgpack.Decoder(EventColumns)


class WriteService:
    """Does what ``WriteClient`` in another process asks for, and answers once it is durable."""

    def __init__(self, events: SqliteEventStore, inbox: Inbox, api_keys: ApiKeys) -> None:
        self._events = events
        self._calls: dict[str, Callable[..., Future[Any]]] = {
            "append": self._append,
            "correct": events.correct,
            "look_up": events.look_up,
            "warm": events.warming,
            "add_to_inbox": inbox.add,
            "key_used": api_keys.used,
        }
        self._channels: set[Channel] = set()

    def serve(self, connection: socket.socket) -> None:
        """Serve the process at the other end, in a thread, until it ends."""
        channel = Channel(connection, "write-answers")
        self._channels.add(channel)
        threading.Thread(
            target=self._serve, args=(channel,), name="write-calls", daemon=True
        ).start()

    def stop(self) -> None:
        """End all connections: who is at the other end takes it that this process is gone."""
        for channel in tuple(self._channels):
            channel.close()

    def _serve(self, channel: Channel) -> None:
        while (message := channel.receive()) is not None:
            number, name, arguments = message
            try:
                future = self._calls[name](*arguments)
            except Exception as error:  # it belongs to the caller
                channel.send(_answer(number, error))
            else:
                future.add_done_callback(_Answering(channel, number))
        self._channels.discard(channel)
        channel.close()

    def _append(
        self, encoded: bytes, received_at: int, is_history: bool
    ) -> Future[list[EventStatus]]:
        columns = _columns.decode(encoded)
        return self._events.append_columns(columns, received_at, is_history=is_history)


class _Answering:
    """Sends what became of a call; called in the writer's thread."""

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel = channel
        self._number = number

    def __call__(self, done: Future[Any]) -> None:
        error = done.exception()
        self._channel.send(_answer(self._number, done.result() if error is None else error))


def _answer(number: int, outcome: object) -> bytes:
    try:
        return frame((number, outcome))
    except Exception as error:  # an error that cannot be sent: its text can
        return frame((number, RuntimeError(f"{outcome!r}, which cannot be sent: {error}")))
