"""An application that records usage through an outage, run as a process of its own.

`python recording_life.py URL KEY SPOOL FIRST fill|drip` numbers its events from FIRST and says on
standard output, a line each, what it tried and what became of it. From the first failed request on
it counts `MINUTES` of the client's clock and at least a second attempt, says `due` and goes on; its
caller kills it then, or starts the server again: once an event is taken after that, it flushes,
waits for the end of its standard input, and until nothing is left in the spool, and ends.
"""

from __future__ import annotations

import os
import sys
import time
from unittest import mock

import tallystick
from tallystick.client import sender

CLOCK_SPEED = 600
"""The clock by which the client waits between attempts runs so many times as fast as ours."""

MINUTES = 20
ATTEMPTS_MIN = 2
PATIENCE_SECONDS = 120
PACE_SECONDS = 0.005
FAT_BYTES = 8_000


def say(*words: object) -> None:
    """Write a line at once: it must be there when the process is killed right after."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def speed_up() -> None:
    """Let the client's waits pass by a faster clock, and be waited for so much shorter."""
    mock.patch.object(sender, "elapsed", client_clock).start()
    mock.patch.object(sender, "LINGER_SECONDS", sender.LINGER_SECONDS / CLOCK_SPEED).start()


def client_clock() -> float:
    """Return the seconds that have passed for the client."""
    return time.monotonic() * CLOCK_SPEED


class Recording:
    """Records numbered events, and says so before and after each."""

    def __init__(self, client: tallystick.Client, first: int) -> None:
        self.client = client
        self.number = first
        self.was_full = False

    def attempt(self, text: str = "") -> bool:
        """Record one event; tell whether it was taken."""
        properties = {"number": self.number, "text": text}
        say("tried", self.number)
        try:
            self.client.record("http_request", customer="acme", properties=properties)
        except tallystick.SpoolFull as error:
            say("refused", self.number)
            if not self.was_full:
                say("full", error)
            self.was_full = True
            return False
        else:
            say("took", self.number)
            return True
        finally:
            self.number += 1

    def drip(self, seconds: float) -> None:
        """Record one after the other until so many seconds of the client's clock have passed."""
        until = client_clock() + seconds
        while client_clock() < until:
            self.attempt()
            time.sleep(PACE_SECONDS)


def main() -> None:
    url, key, spool, first, way = sys.argv[1:]
    speed_up()
    client = tallystick.Client(url, key, spool=spool)
    recording = Recording(client, int(first))
    while not client.metrics.failed_requests:
        recording.drip(1)
        if client.metrics.accepted:
            say("delivering")
    say("failing")
    while way == "fill" and recording.attempt("x" * FAT_BYTES):
        pass
    recording.drip(MINUTES * 60)
    while client.metrics.failed_requests < ATTEMPTS_MIN:  # time may have passed without us
        recording.drip(1)
    say("due", client.metrics.failed_requests)
    failed_requests = client.metrics.failed_requests
    while not (recording.attempt() and client.metrics.accepted):
        time.sleep(PACE_SECONDS)
    client.flush()
    say("flushed", client.metrics.failed_requests - failed_requests)
    sys.stdin.read()
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while os.listdir(spool) and time.monotonic() < give_up_at:  # noqa: PTH208 - as below
        time.sleep(PACE_SECONDS)
    client.close()
    say("left", os.listdir(spool))  # noqa: PTH208 - for people to read


if __name__ == "__main__":
    main()
