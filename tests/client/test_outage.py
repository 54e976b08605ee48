"""An hour without a server, two kills and a full disk: what `record` took arrives exactly once."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tallystick.config import Settings
from tallystick.wiring import Tallystick
from tests.client import recording_life
from tests.client.test_recorder import Installation
from tests.fixtures.commands import answer_of
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.ports import free_port
from tests.fixtures.small_disk import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(recording_life.__file__)
DISK_KILOBYTES = 768
EVENTS_A_LIFE_MAX = 1_000_000


class Life:
    """One process of the application, and what it said."""

    def __init__(
        self, number: int, way: str, url: str, installation: Installation, disk: SmallDisk
    ) -> None:
        self._said = installation.folder / f"life-{number}.txt"
        arguments = (url, installation.key, disk.folder, number * EVENTS_A_LIFE_MAX, way)
        command = [*disk.enter, sys.executable, SCRIPT, *arguments]
        log = installation.folder / f"life-{number}.log"
        with self._said.open("wb") as output, log.open("wb") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
            )

    def lines(self, word: str) -> list[str]:
        """Return what stands behind a word on the lines that begin with it; the last one may not
        be whole yet, or, after a kill, ever.
        """
        whole = self._said.read_text("utf-8").split("\n")[:-1]
        return [line.partition(" ")[2] for line in whole if line.partition(" ")[0] == word]

    def numbers(self, word: str) -> set[int]:
        return {int(number) for number in self.lines(word)}

    def wait_for(self, word: str) -> str:
        """Wait until it said a word for the first time; return what stands behind it."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.lines(word)):
            assert time.monotonic() < give_up_at, f"{word!r} was never said"
            assert self.process.poll() is None, f"ended before it said {word!r}"
            time.sleep(0.02)
        return found[0]

    def kill(self) -> None:
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def closed_port(url: str) -> Iterator[None]:
    """Keep the port that nobody listens on from everybody else."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port_of(url)))
        yield


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def stored_numbers(installation: Installation) -> list[int]:
    database_url = installation.environment["TALLYSTICK_DATABASE_URL"]
    with Tallystick(Settings(database_url=database_url)) as product:
        events = product.events.scan(0, 10_000_000)
        return [json.loads(stored.event.properties)["number"] for stored in events]


@pytest.mark.slow
def test_an_hour_without_a_server_two_kills_and_a_full_disk_lose_and_double_nothing(
    stripe_settings: Settings, tmp_path: Path
) -> None:
    """The hour is three lives of 20 minutes by the clock that the client waits by between its
    attempts, which runs 600 times as fast as ours: the attempts of an hour are made, not its
    waiting. All else is real: the server's process and its kill in the middle of deliveries, the
    closed port, SIGKILL in the middle of recording, a spool on a disk of 768 KiB that fills.
    """
    assert 3 * recording_life.MINUTES == 60
    installation = Installation(stripe_settings, tmp_path)
    lives: list[Life] = []
    with small_disk(tmp_path / "spool", DISK_KILOBYTES) as disk:

        def begin(way: str) -> Life:
            lives.append(Life(len(lives) + 1, way, url, installation, disk))
            return lives[-1]

        server = installation.serve(free_port())
        url = server.url
        try:
            first = begin("drip")
            first.wait_for("delivering")
            server.kill()
            with closed_port(url):
                first.wait_for("due")
                first.kill()
                second = begin("drip")
                second.wait_for("due")
                second.kill()
                third = begin("fill")
                message = third.wait_for("full")
                third.wait_for("due")
            with installation.serve(port_of(url)):
                third.wait_for("flushed")
                took = set().union(*(life.numbers("took") for life in lives))
                wait_until_stored(installation, took)
                third.process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            for life in lives:
                life.end()
            server.kill()
        assert third.process.returncode == 0

    check_arrivals(installation, lives)
    assert re.search(r"No space left on device.*not recorded.*spool", message)
    for life in lives:
        assert int(life.lines("due")[0]) >= recording_life.ATTEMPTS_MIN  # it never ceased to try
    assert third.lines("left") == ["[]"]


def wait_until_stored(installation: Installation, numbers: set[int]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not numbers <= set(stored_numbers(installation)):
        assert time.monotonic() < give_up_at
        time.sleep(0.2)


def check_arrivals(installation: Installation, lives: list[Life]) -> None:
    arrived = stored_numbers(installation)
    assert [number for number, times in Counter(arrived).items() if times != 1] == []
    for life in lives:
        assert life.numbers("took")
        # killed after it was taken and before that was said: at most the last one of a life
        unsure = life.numbers("tried") - life.numbers("took") - life.numbers("refused")
        assert len(unsure) <= 1
    took = set().union(*(life.numbers("took") for life in lives))
    tried = set().union(*(life.numbers("tried") for life in lives))
    refused = set().union(*(life.numbers("refused") for life in lives))
    assert refused
    assert took - set(arrived) == set()
    assert set(arrived) - tried == set()
    assert refused & set(arrived) == set()
    checked = answer_of("verify", environment=installation.environment)
    assert checked, "`tallystick verify` exits 0 where counted usage equals a recount"
