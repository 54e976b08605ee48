"""What `record` costs the application that calls it."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from typing import Any

import tallystick

GOAL_US = 10.0
EVENTS = 30_000
ROUNDS = 5
NOWHERE = "http://127.0.0.1:9"
"""No server answers there: events stay in the spool, and only recording is measured."""


def results() -> list[dict[str, Any]]:
    """Return the median time of one call, in microseconds, events on disk when it returns."""
    logging.getLogger("tallystick.client").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as spool:
        client = tallystick.Client(NOWHERE, "key", spool=spool)
        rounds = [_microseconds(client) for _ in range(ROUNDS)]
        client.close(0)
    value = round(statistics.median(rounds), 2)
    return [{"name": "client_record_us", "value": value, "unit": "us", "goal": GOAL_US}]


def _microseconds(client: tallystick.Client) -> float:
    started = time.perf_counter()
    for _ in range(EVENTS):
        client.record("api_requests", customer="acme", value=1)
    return (time.perf_counter() - started) / EVENTS * 1_000_000
