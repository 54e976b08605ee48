"""Turns at writing, among the processes that write to one SQLite file."""

from __future__ import annotations

import fcntl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from tallystick.ports.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRY_MS = 1
TRIES_MAX = 5_000
"""Five seconds in all, as long as SQLite itself waits for its lock."""


class WriteTurns:
    """Lets processes write by turns: who waits for SQLite's own lock tries it now and then, and one
    that writes without a pause has it again before.

    Two files are locked: one by who writes, the other by who is next. Who has written has to be
    next before it writes again, and cannot while somebody else is.
    """

    def __init__(self, path: Path) -> None:
        self._next = path.with_name(f"{path.name}-next.lock").open("ab")
        self._writing = path.with_name(f"{path.name}-writing.lock").open("ab")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the turn inside the block. A process that dies gives its turn back.

        Raises:
            StoreUnavailable: another process has not given it back for seconds.
        """
        _lock(self._next)
        try:
            _lock(self._writing)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._writing, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files; they stay, empty."""
        self._next.close()
        self._writing.close()


def _lock(file: BinaryIO) -> None:
    for _ in range(TRIES_MAX):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Event().wait(TRY_MS / 1_000)
        else:
            return
    raise StoreUnavailable("another process has been writing for seconds; nothing was stored")
