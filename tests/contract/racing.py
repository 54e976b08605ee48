"""Threads that begin together, and whose failures a test sees."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
RACE_SECONDS_MAX = 50


def race(pieces: Sequence[Callable[[], T]]) -> list[T]:
    """Run the pieces side by side, all starting at once; return what each returned, in order."""
    together = threading.Barrier(len(pieces))

    def run(piece: Callable[[], T]) -> T:
        together.wait(RACE_SECONDS_MAX)
        return piece()

    with ThreadPoolExecutor(len(pieces)) as pool:
        begun = [pool.submit(run, piece) for piece in pieces]
        return [future.result(RACE_SECONDS_MAX) for future in begun]
