"""The workers of a server: threads that repeat one piece of work until they are stopped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

DELIVER_THREADS = 4
"""Requests to Stripe under way at once: each waits for an answer most of the time."""

DELIVER_PAUSE_SECONDS = 1.0
"""How long an idle deliverer waits before it looks into the outbox again."""

CONFIRM_PAUSE_SECONDS = 60.0
"""How long the confirmer waits before it looks for delivered reports that are due again."""

INBOX_THREADS = 2
"""Events dealt with at once."""

INBOX_PAUSE_SECONDS = 0.5
"""How long an idle worker waits before it looks into the inbox again."""


LATENESS_PAUSE_SECONDS = 5.0
"""How long it takes at most until an event's delay is counted, unless somebody asks before."""

LATENESS_BATCHES = 20
"""Batches counted in one go: a million events, far more than arrive in a pause, and few enough that
a server that is told to stop while it catches up does so within seconds."""

ROLL_PAUSE_SECONDS = 5.0
"""How long the roller waits before it looks for days that are over, or changed since."""

ROLL_STEPS = 20
"""Steps taken in one go: a tenth of a second, of customers' days 800 in a second. A server that has
months to roll up goes on answering meanwhile as if it had not."""


class Work(NamedTuple):
    """A piece of work that is repeated: ``event`` is what the log calls its outcomes."""

    event: str
    run: Callable[[], Counter[Any]]
    pause_seconds: float
    threads: int = 1


class Background:
    """Works beside the API. What fails is logged, and tried again after a pause."""

    def __init__(self, works: Iterable[Work]) -> None:
        self._stopping = threading.Event()
        self._log = structlog.get_logger()
        self._threads = [
            threading.Thread(target=self._repeat, args=(work,), name=f"{work.event}-{number}")
            for work in works
            for number in range(work.threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask the threads to stop after what they are at, and wait until they have."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, work: Work) -> None:
        while not self._stopping.is_set():
            try:
                outcomes = work.run()
            except Exception as error:  # a worker outlives whatever it meets
                self._log.exception("worker.failed", worker=work.event, error=str(error))
            else:
                if outcomes:
                    self._log.info(work.event, **{str(name): n for name, n in outcomes.items()})
            self._stopping.wait(work.pause_seconds)
