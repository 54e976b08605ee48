"""Turns beside a SQLite file: locked files, which a process that dies gives back."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tallystick.ports.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.ports.turns import Turn


class SqliteTurns:
    """``Turns`` beside one SQLite file; the files stay, empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def take(self, turn: Turn) -> Iterator[bool]:
        """Return whether the turn is the caller's, until the block ends."""
        path = self._path.with_name(f"{self._path.name}-{turn}.lock")
        try:
            file = path.open("wb")
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be locked: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True  # closing the file unlocks it
