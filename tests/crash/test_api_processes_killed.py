"""A server in several processes, of which any is killed: nothing is lost, doubled or left over."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tallystick.client.connection import ServerConnection, ServerUnreachable
from tallystick.oversight.invariants import check_store
from tallystick.wiring import Tallystick
from tests.fixtures.divided import DividedServer, Installation, kill, wait_until_gone
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENDERS = 3
BATCH = 20


class Load:
    """Clients that send batches until they are told to stop, and again what was not answered."""

    def __init__(self, url: str, key: str) -> None:
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()
        self._url = url
        self._key = key
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(f"client-{number}",))
            for number in range(SENDERS)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send inside the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join()

    def wait_for_more(self, number: int) -> None:
        """Wait until so many more events were acknowledged."""
        until = len(self.acknowledged) + number
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while len(self.acknowledged) < until:
            assert time.monotonic() < give_up_at, "the server takes no events"
            time.sleep(0.005)

    def _send(self, client: str) -> None:
        connection = ServerConnection(self._url, self._key)
        first = 0
        while not self._stopping.is_set():
            ids = [f"{client}-{number}" for number in range(first, first + BATCH)]
            self.sent.update(ids)
            try:
                connection.post_events([event_line(event_id, client) for event_id in ids])
            except ServerUnreachable:
                time.sleep(0.01)
                continue  # with the same events
            self.acknowledged.update(ids)
            first += BATCH
        connection.close()


def event_line(event_id: str, customer: str) -> bytes:
    return (
        f'{{"id":"{event_id}","type":"http_request","customer":"{customer}",'
        f'"time":"2015-05-18T10:00:00Z"}}'
    ).encode()


def assert_each_is_stored_once(installation: Installation, load: Load) -> None:
    with Tallystick(installation.settings) as product:
        stored = [each.event.id for each in product.events.scan(0, 1_000_000)]
        assert len(stored) == len(set(stored))
        assert load.acknowledged <= set(stored) <= load.sent
        with product.snapshots.snapshot() as snapshot:
            checks = check_store(snapshot, product.catalog.meters())
    assert [finding for check in checks for finding in check.findings] == []


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation of its own."""
    return Installation(tmp_path)


def is_listening(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as asking:
        return asking.connect_ex((parts.hostname or "", parts.port or 0)) == 0


def test_a_killed_api_process_is_replaced_and_nothing_is_lost(installation: Installation) -> None:
    with installation.serve(count=2) as server:
        load = Load(server.url, installation.key)
        with load.running():
            for _ in range(2):
                load.wait_for_more(400)
                before = server.apis
                kill(before[0])
                load.wait_for_more(400)
                wait_for_others(server, before)
        pids = [server.pid, *server.others()]
    wait_until_gone(pids)
    assert_each_is_stored_once(installation, load)
    assert b"api.ended" in server.log.read_bytes()


def wait_for_others(server: DividedServer, before: list[int]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while server.apis == before or len(server.apis) < len(before):
        assert time.monotonic() < give_up_at, "no process in the place of the killed one"
        time.sleep(0.02)


@pytest.mark.parametrize("victim", ["first", "store"])
def test_without_the_first_or_the_one_that_stores_all_end(
    installation: Installation, victim: str
) -> None:
    server = installation.serve(count=2)
    try:
        load = Load(server.url, installation.key)
        with load.running():
            load.wait_for_more(400)
            others = server.others()
            kill(server.pid if victim == "first" else server.store)
            assert server.wait() == (-signal.SIGKILL if victim == "first" else 3)
            wait_until_gone(others)
            assert not is_listening(server.url)
    finally:
        server.stop()
    if victim == "store":
        assert b"the process that stores has ended" in server.log.read_bytes()
    assert_each_is_stored_once(installation, load)

    with installation.serve(count=1) as server:
        again = ServerConnection(server.url, installation.key)
        lines = [event_line(event_id, event_id[:8]) for event_id in sorted(load.acknowledged)]
        answer = again.post_events(lines[:10_000])
        again.close()
    assert answer.duplicates == min(len(lines), 10_000)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_end_answers_what_it_took_and_leaves_nobody(
    installation: Installation, number: signal.Signals
) -> None:
    server = installation.serve(count=2)
    try:
        load = Load(server.url, installation.key)
        with load.running():
            load.wait_for_more(400)
            others = server.others()
            os.killpg(server.pid, number)  # as a service's end or Ctrl-C reaches all at once
            assert server.wait() == 0
            wait_until_gone(others)
            assert not is_listening(server.url)
    finally:
        server.stop()
    assert b"Traceback" not in server.log.read_bytes()
    assert_each_is_stored_once(installation, load)
