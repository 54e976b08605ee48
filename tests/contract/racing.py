"""Threads that begin together, and whose failures a test sees."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def race(pieces: Sequence[Callable[[], T]]) -> list[T]:
    """Run the pieces side by side, all starting at once; return what each returned, in order."""
    together = threading.Barrier(len(pieces))

    def run(piece: Callable[[], T]) -> T:
        together.wait(PATIENCE_SECONDS)
        return piece()

    with ThreadPoolExecutor(len(pieces)) as pool:
        begun = [pool.submit(run, piece) for piece in pieces]
        return [future.result(PATIENCE_SECONDS) for future in begun]
