"""Load over HTTP: many kept-alive connections from one thread, so that the server is the limit."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_ACCEPTED = re.compile(rb'"accepted":(\d+)')
_TICK_SECONDS = 0.001


class LoadResult(NamedTuple):
    """What came of a run: events acknowledged as accepted, seconds, and each answer's latency."""

    accepted: int
    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        """Events acknowledged per second."""
        return self.accepted / self.seconds

    def percentile_ms(self, share: float) -> float:
        """Return the latency that this share of the answers did not exceed, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Target(NamedTuple):
    """A server and the key to it."""

    url: str
    api_key: str

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return a whole HTTP/1.1 request."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def drive(
    target: Target, requests: Iterable[bytes], connections: int, per_second: int | None = None
) -> LoadResult:
    """Send the requests, each once, over so many connections; at a steady pace if one is given.

    A latency counts from the moment the request was due, so that waiting for a slow server shows.

    Raises:
        RuntimeError: an answer other than 200, or a connection that broke.
    """
    return uvloop.run(_Run(target, iter(requests), connections, per_second).run())


class _Run:
    def __init__(
        self, target: Target, requests: Iterator[bytes], connections: int, pace: int | None
    ) -> None:
        self._target = target
        self._requests = requests
        self._connections = connections
        self._pace = pace
        self._idle: deque[_Connection] = deque()
        self._due: deque[tuple[float, bytes]] = deque()
        self._under_way = 0
        self._accepted = 0
        self._latencies: list[float] = []
        self._is_exhausted = False

    async def run(self) -> LoadResult:
        loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = loop.create_future()
        parts = urlsplit(self._target.url)
        opened = [
            await loop.create_connection(
                lambda: _Connection(self), parts.hostname or "", parts.port or 80
            )
            for _ in range(self._connections)
        ]
        self._idle.extend(connection for _, connection in opened)
        started = perf_counter()
        if self._pace is None:
            while self._idle and self._send(None):
                pass
        else:
            await self._paced(started, self._pace)
        await self._done
        seconds = perf_counter() - started
        for transport, _ in opened:
            transport.close()
        return LoadResult(self._accepted, seconds, self._latencies)

    async def _paced(self, started: float, pace: int) -> None:
        sent = 0
        while not self._is_exhausted:
            until = int((perf_counter() - started) * pace)
            for number in range(sent, until):
                request = next(self._requests, None)
                if request is None:
                    self._is_exhausted = True
                    break
                self._due.append((started + number / pace, request))
            sent = max(sent, until)
            while self._due and self._idle:
                self._send(self._due.popleft())
            await asyncio.sleep(_TICK_SECONDS)
        if not self._under_way and not self._done.done():
            self._done.set_result(None)

    def _send(self, due: tuple[float, bytes] | None) -> bool:
        if due is None:
            request = next(self._requests, None)
            if request is None:
                self._is_exhausted = True
                return False
            due = (perf_counter(), request)
        self._under_way += 1
        self._idle.popleft().send(*due)
        return True

    def answered(self, connection: _Connection, due_at: float, answer: bytes) -> None:
        """Count an answer and send the next request on its connection."""
        self._latencies.append(perf_counter() - due_at)
        if not answer.startswith(b"HTTP/1.1 200"):
            self.fail(answer[:500].decode("utf-8", "replace"))
            return
        found = _ACCEPTED.search(answer)
        self._accepted += int(found[1]) if found else 0
        self._under_way -= 1
        self._idle.append(connection)
        if self._due:
            self._send(self._due.popleft())
        elif self._pace is None:
            self._send(None)
        if self._is_exhausted and not self._under_way and not self._done.done():
            self._done.set_result(None)

    def fail(self, why: str) -> None:
        """End the run."""
        if not self._done.done():
            self._done.set_exception(RuntimeError(f"the server answered: {why}"))


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._answer = bytearray()
        self._due_at = 0.0
        self._write: Callable[[bytes], object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.WriteTransport", transport).write  # uvloop's is no subclass

    def send(self, due_at: float, request: bytes) -> None:
        assert self._write is not None
        self._due_at = due_at
        self._write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        answer = bytes(self._answer)
        self._answer.clear()
        self._run.answered(self, self._due_at, answer)

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._run.fail(str(error))
