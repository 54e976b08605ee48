"""The workers of a server: threads that repeat one piece of work until they are stopped."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

DELIVER_THREADS = 4
"""Requests to Stripe under way at once: each waits for an answer most of the time."""

DELIVER_PAUSE_SECONDS = 1.0
"""How long an idle deliverer waits before it looks into the outbox again."""

CONFIRM_PAUSE_SECONDS = 60.0
"""How long the confirmer waits before it looks for delivered reports that are due again."""


class Background:
    """Reports, delivers and confirms beside the API.

    What fails is logged, and tried again after a pause.
    """

    def __init__(
        self,
        report: Callable[[], Counter[Any]],
        deliver: Callable[[], Counter[Any]],
        confirm: Callable[[], Counter[Any]],
        report_seconds: float,
    ) -> None:
        self._stopping = threading.Event()
        self._log = structlog.get_logger()
        self._threads = [
            threading.Thread(
                target=self._repeat,
                args=("report.planned", report, report_seconds),
                name="report",
            ),
            threading.Thread(
                target=self._repeat,
                args=("report.confirmed", confirm, CONFIRM_PAUSE_SECONDS),
                name="confirm",
            ),
            *(
                threading.Thread(
                    target=self._repeat,
                    args=("report.delivered", deliver, DELIVER_PAUSE_SECONDS),
                    name=f"deliver-{number}",
                )
                for number in range(DELIVER_THREADS)
            ),
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

    def _repeat(self, event: str, work: Callable[[], Counter[Any]], pause_seconds: float) -> None:
        while not self._stopping.is_set():
            try:
                outcomes = work()
            except Exception as error:  # a worker outlives whatever it meets
                self._log.exception("worker.failed", worker=event, error=str(error))
            else:
                if outcomes:
                    self._log.info(event, **{str(name): n for name, n in outcomes.items()})
            self._stopping.wait(pause_seconds)
