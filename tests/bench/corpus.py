"""Events as a product would send them: 306 bytes of JSON, 10,000 customers of very unequal size."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterator

CUSTOMERS = 10_000
SKEW = 3.0
"""Customers are drawn as ``u ** SKEW``: the first tenth sends nearly half of all events."""

EVENT_BYTES = 306


class Corpus:
    """Makes events, from one seed; ``ordered`` ids are UUIDv7, others UUIDv4."""

    def __init__(self, seed: int, *, ordered: bool) -> None:
        self._random = random.Random(seed)
        self._ordered = ordered
        self._tick = self._random.getrandbits(30)

    def event(self, at: datetime) -> bytes:
        """Return one event of the moment as JSON."""
        draw = self._random
        customer = f"cust_{int(CUSTOMERS * draw.random() ** SKEW):05d}"
        size = draw.randrange(200, 60_000)
        head = (
            f'{{"id":"{self._id(at)}","type":"http_request","customer":"{customer}",'
            f'"time":"{at:%Y-%m-%dT%H:%M:%S.%f}Z","value":{size},"properties":{{'
            f'"method":"GET","path":"/v1/items/{draw.randrange(1_000_000)}","status":200,'
            f'"region":"eu-west-{draw.randrange(1, 4)}","user_agent":"'
        )
        return head.encode().ljust(EVENT_BYTES - 3, b"u") + b'"}}'

    def batches(self, count: int, size: int, start: datetime, step: timedelta) -> Iterator[bytes]:
        """Return ``count`` JSON arrays of ``size`` events, each event one step later."""
        at = start
        for _ in range(count):
            events = []
            for _ in range(size):
                events.append(self.event(at))
                at += step
            yield b"[" + b",".join(events) + b"]"

    def _id(self, at: datetime) -> UUID:
        bits = self._random.getrandbits(62)
        if not self._ordered:
            return UUID(int=(self._random.getrandbits(64) << 64 | 2 << 62 | bits) & _V4 | 4 << 76)
        self._tick += 1  # ids of one millisecond stay in order
        milliseconds = int(at.timestamp() * 1000) + self._tick // 4096
        return UUID(int=milliseconds << 80 | 7 << 76 | (self._tick & 0xFFF) << 64 | 2 << 62 | bits)


_V4 = (1 << 128) - 1 ^ 0xF << 76


def month_start(now: datetime) -> datetime:
    """Return when the current month began."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
