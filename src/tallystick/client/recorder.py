"""The client: `record` returns at once, and what it took reaches the server exactly once."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import random
import tempfile
import threading
import weakref
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tallystick.client.connection import ServerConnection, ServerRefused, ServerUnreachable
from tallystick.client.moments import Moments, elapsed
from tallystick.client.spool import (
    SEGMENT_BYTES_MAX,
    SPOOL_BYTES_MAX,
    Segment,
    SpoolFull,
    orphans,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

BATCH_EVENTS_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024
"""One request: large enough that requests cost little, small enough that a retry does."""

LINGER_SECONDS = 0.5
"""How long events gather before they are sent, where they come one by one."""

RETRY_SECONDS_BASE = 0.5
RETRY_SECONDS_MAX = 30.0
ORPHAN_SCAN_SECONDS = 5.0
EXIT_SECONDS = 5.0
NAME_CHARS_MAX = 255

REJECTED_FILE = "rejected.jsonl"
"""Events that the server refused, with its reasons: a line each, in the spool."""

LINE_BYTES_MAX = 64 * 1024
"""One event: the server takes no larger one."""

_COUNTED = ("recorded", "accepted", "duplicates", "rejected", "requests", "failed_requests")

_log = logging.getLogger("tallystick.client")


@dataclass(frozen=True, slots=True)
class ClientMetrics:
    """What became of this process's events since it started; bytes are those that wait on disk."""

    recorded: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    requests: int = 0
    failed_requests: int = 0
    waiting_bytes: int = 0
    last_error: str | None = None


class Client:
    """Records usage for a Tallystick server. Thread-safe, and safe to use after a fork.

    Events go to a spool on disk first, and from there to the server in the background: they outlive
    the process and an outage of the server. Several processes may share one spool folder.
    """

    def __init__(
        self, url: str, api_key: str, *, spool: str | Path | None = None, source: str = "default"
    ) -> None:
        """Begin to record; ``spool`` is a folder, else one for this server in the temporary folder.

        Raises:
            ValueError: the address or the source cannot be.
            OSError: the spool cannot be made.
        """
        self._url = url
        self._api_key = api_key
        self._folder = Path(spool) if spool else _default_spool(url)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._source = encode_basestring_ascii(_name("source", source))
        self._moments = Moments()
        self._closed = False
        self._start()
        this = weakref.ref(self)  # what is registered for forks is never let go
        os.register_at_fork(after_in_child=lambda: _start_in_child(this()))
        atexit.register(self.close, EXIT_SECONDS)

    def record(
        self,
        event_type: str,
        *,
        customer: str,
        value: int | Decimal | str = 1,
        properties: Mapping[str, object] | None = None,
        id: str | None = None,  # noqa: A002 - the field's name in an event
        time: datetime | None = None,
    ) -> str:
        """Record that a customer used something; return the event's id, after it is on disk.

        ``value`` is exact: a float is refused. ``time`` is now where it is left out.

        Raises:
            ValueError, TypeError: the event cannot be; nothing was recorded.
            SpoolFull: there is no room for it; nothing was recorded.
        """
        if isinstance(value, float) or not isinstance(value, int | Decimal | str):
            raise TypeError(f"value is {value!r}; an int, a Decimal or a decimal string is exact")
        if time is not None and time.tzinfo is None:
            raise ValueError(f"time is {time!r}, which has no offset")
        fields = (
            f',"type":{encode_basestring_ascii(_name("event type", event_type))}'
            f',"customer":{encode_basestring_ascii(_name("customer", customer))}'
            f',"source":{self._source},"value":"{_decimal(value)}"'
        )
        if properties:
            fields += f',"properties":{json.dumps(properties, allow_nan=False)}'
        with self._lock:
            if self._closed:
                raise ValueError("the client was closed")
            made_id, now = self._moments.next()
            event_id = made_id if id is None else _name("id", id)
            at = now if time is None else time.isoformat()
            line = f'{{"id":{encode_basestring_ascii(event_id)},"time":"{at}"{fields}}}\n'
            self._append(line.encode())
        return event_id

    @property
    def metrics(self) -> ClientMetrics:
        """What became of this process's events until now."""
        with self._lock:
            return ClientMetrics(
                **self._counts, waiting_bytes=self._waiting_bytes(), last_error=self._last_error
            )

    def flush(self, timeout: float | None = None) -> bool:
        """Send what waits; return whether all of it reached the server within so many seconds."""
        give_up_at = None if timeout is None else elapsed() + timeout
        self._hurry.set()
        with self._emptied:
            while self._waiting_bytes():
                rest = None if give_up_at is None else give_up_at - elapsed()
                if rest is not None and rest <= 0:
                    return False
                self._emptied.wait(rest)
        return True

    async def flush_async(self, timeout: float | None = None) -> bool:
        """Do what ``flush`` does without holding up the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self, timeout: float | None = EXIT_SECONDS) -> bool:
        """Flush for so many seconds and stop; what is left is sent by the next process.

        Returns whether everything reached the server. `record` raises from then on.
        """
        with self._lock:
            if self._closed:
                return not self._waiting_bytes()
            self._closed = True
        sent = self.flush(timeout)
        self._stopping.set()
        self._hurry.set()
        self._sender.join()
        for segment in self._segments:
            segment.release()
        self._connection.close()
        atexit.unregister(self.close)
        return sent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def _start(self) -> None:
        self._connection = ServerConnection(self._url, self._api_key)
        self._lock = threading.Lock()
        self._emptied = threading.Condition(self._lock)
        self._segments = [Segment.create(self._folder)]
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._last_error: str | None = None
        self._hurry = threading.Event()
        self._stopping = threading.Event()
        self._sender = threading.Thread(
            target=self._send_until_stopped, name="tallystick-client", daemon=True
        )
        self._sender.start()

    def start_in_child(self) -> None:
        """Begin anew in a forked child: segments, sender and socket are its parent's."""
        if not self._closed:
            for segment in self._segments:
                segment.forget()
            self._start()

    def _append(self, line: bytes) -> None:
        if len(line) > LINE_BYTES_MAX:
            raise ValueError(f"the event has {len(line)} bytes; {LINE_BYTES_MAX} are the most")
        if self._waiting_bytes() + len(line) > SPOOL_BYTES_MAX:
            raise SpoolFull(f"{self._folder} holds {SPOOL_BYTES_MAX} bytes that were not sent yet")
        segment = self._segments[-1]
        if segment.size + len(line) > SEGMENT_BYTES_MAX:
            segment = Segment.create(self._folder)
            self._segments.append(segment)
        segment.append(line)
        self._counts["recorded"] += 1

    def _waiting_bytes(self) -> int:
        return sum(segment.size - segment.sent for segment in self._segments)

    def _send_until_stopped(self) -> None:
        failures = 0
        next_scan_at = elapsed()
        while True:
            try:
                is_idle = not self._send_own()
                if is_idle and elapsed() >= next_scan_at:
                    self._send_orphans()
                    next_scan_at = elapsed() + ORPHAN_SCAN_SECONDS
                failures = 0
                pause = LINGER_SECONDS if is_idle else 0.0
            except (ServerUnreachable, ServerRefused, OSError) as error:
                self._note_failure(error)
                longest = min(RETRY_SECONDS_BASE * 2**failures, RETRY_SECONDS_MAX)
                pause = random.uniform(0, longest)  # noqa: S311 - spreads retries, guards nothing
                failures = min(failures + 1, 16)
            if self._stopping.is_set():
                return
            if pause:
                self._hurry.wait(pause)
                self._hurry.clear()

    def _send_own(self) -> bool:
        """Send one batch of this process's events; tell whether there was any."""
        with self._lock:
            segment = self._segments[0]
            is_finished = len(self._segments) > 1
        sent = self._send_batch(segment)
        if not sent and is_finished:
            with self._lock:
                self._segments.pop(0)
            segment.delete()
            return True
        return sent

    def _send_orphans(self) -> None:
        with self._lock:
            own = {segment.path for segment in self._segments}
        for segment in orphans(self._folder, own):
            try:
                while self._send_batch(segment):
                    pass
            except BaseException:
                segment.release()
                raise
            segment.delete()

    def _send_batch(self, segment: Segment) -> bool:
        lines, offset = segment.waiting(BATCH_EVENTS_MAX, BATCH_BYTES_MAX)
        if not lines:
            return False
        segment.sync()
        answer = self._connection.post_events(lines)
        refused = [
            (line, result)
            for line, result in zip(lines, answer.results, strict=True)
            if result["status"] in ("invalid", "conflict")
        ]
        for line, result in refused:
            self._keep_rejected(line, result)
        segment.mark_sent(offset)
        with self._emptied:
            self._counts["accepted"] += answer.accepted
            self._counts["duplicates"] += answer.duplicates
            self._counts["rejected"] += len(refused)
            self._counts["requests"] += 1
            self._emptied.notify_all()
        return True

    def _keep_rejected(self, line: bytes, result: Mapping[str, object]) -> None:
        """Keep an event that the server refused for good, so that nothing vanishes in silence."""
        _log.error("the server refused an event: %s %s", result["code"], result["detail"])
        kept = {
            "code": result["code"],
            "detail": result["detail"],
            "event": line.decode("utf-8", "replace"),
        }
        with (self._folder / REJECTED_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept) + "\n")

    def _note_failure(self, error: Exception) -> None:
        _log.warning("sending failed, and will be tried again: %s", error)
        with self._lock:
            self._counts["requests"] += 1
            self._counts["failed_requests"] += 1
            self._last_error = str(error)


def _start_in_child(client: Client | None) -> None:
    if client is not None:
        client.start_in_child()


def _name(what: str, text: str) -> str:
    if not text:
        raise ValueError(f"{what} is {text!r}; a text that is not empty is needed")
    if len(text) > NAME_CHARS_MAX:
        raise ValueError(f"{what} has {len(text)} characters; {NAME_CHARS_MAX} are the most")
    return text


def _decimal(value: int | Decimal | str) -> str:
    """Return the value's plain spelling.

    Raises:
        ValueError: it is not a finite decimal number.
    """
    if type(value) is int:
        return str(value)
    try:
        number = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"value is {value!r}, which is not a decimal number") from None
    if not number.is_finite():
        raise ValueError(f"value is {value!r}, which is not finite")
    return format(number, "f")


def _default_spool(url: str) -> Path:
    name = "".join(char if char.isalnum() else "-" for char in url)
    return Path(tempfile.gettempdir()) / f"tallystick-spool-{os.getuid()}-{name}"
