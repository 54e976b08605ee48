"""Times and ids of recorded events, made cheaply: the client's only look at a clock."""

from __future__ import annotations

import os
import time

_NANOSECONDS = 1_000_000_000
_RANDOM_BYTES = 10
_VARIANT = 0x8000  # RFC 9562: the two highest bits of the fourth group are 10


class Moments:
    """Says what time it is, and makes UUIDv7 ids that sort by it. Not thread-safe: callers lock."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def next(self) -> tuple[str, str]:
        """Return a new id and the time in RFC 3339, with microseconds, in UTC."""
        now_ns = time.time_ns()
        second, nanosecond = divmod(now_ns, _NANOSECONDS)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return uuid7(now_ns // 1_000_000), f"{self._prefix}.{nanosecond // 1000:06d}Z"


def uuid7(unix_ms: int) -> str:
    """Return a UUID of version 7 (RFC 9562): its ids sort by time, which keeps the server's index
    local.

    The rest is random from the operating system, so that processes that were forked never agree.
    """
    random = int.from_bytes(os.urandom(_RANDOM_BYTES))
    stamp = f"{unix_ms:012x}"
    version = f"7{random >> 68:03x}"
    variant = f"{_VARIANT | (random >> 54 & 0x3FFF):04x}"
    return f"{stamp[:8]}-{stamp[8:]}-{version}-{variant}-{random & 0xFFFFFFFFFFFF:012x}"


def elapsed() -> float:
    """Return seconds on a clock that never jumps."""
    return time.monotonic()
