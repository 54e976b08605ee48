"""Times and ids of recorded events, made cheaply: the client's only look at a clock."""

from __future__ import annotations

import os
import time

_NANOSECONDS = 1_000_000_000
_MILLISECOND_NS = 1_000_000
_STEPS = 4096  # of a millisecond: the 12 bits behind the version
_RANDOM_BYTES = 8
_VARIANT = 0x8000  # RFC 9562: the two highest bits of the fourth group are 10


class Moments:
    """Says what time it is, and makes UUIDv7 ids that sort by it. Not thread-safe: callers lock."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""
        self._step = -1

    def next(self) -> tuple[str, str]:
        """Return a new id and the time in RFC 3339, with microseconds, in UTC.

        Each id of a process is greater than the one before, even where the clock was set back in
        between: then ids go on from where they were until the clock has caught up. The time is
        always the clock's.
        """
        now_ns = time.time_ns()
        second, nanosecond = divmod(now_ns, _NANOSECONDS)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._step = max(now_ns * _STEPS // _MILLISECOND_NS, self._step + 1)
        return uuid7(self._step), f"{self._prefix}.{nanosecond // 1000:06d}Z"


def uuid7(step: int) -> str:
    """Return a UUID of version 7 (RFC 9562, 6.2, method 3): its ids sort by time, which keeps the
    server's index local.

    ``step`` counts 4096ths of a millisecond since 1970. The rest is random from the operating
    system, so that processes that were forked never agree.
    """
    random = int.from_bytes(os.urandom(_RANDOM_BYTES))
    unix_ms, fraction = divmod(step, _STEPS)
    stamp = f"{unix_ms:012x}"
    variant = f"{_VARIANT | (random >> 48 & 0x3FFF):04x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{fraction:03x}-{variant}-{random & 0xFFFFFFFFFFFF:012x}"


def elapsed() -> float:
    """Return seconds on a clock that never jumps."""
    return time.monotonic()
