"""A PostgreSQL server without room: a clear error, nothing acknowledged lost, and no help needed.

Room ends in two ways: on a small filesystem that is full, and by a limit on what the server's
processes may write of a file, which needs no mounting and fails their writes just the same.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import httpx2
import pytest

from tallystick.billing.catalog_file import read_catalog
from tallystick.cli.local_servers import LocalServer
from tallystick.config import Settings
from tallystick.oversight.invariants import check_store
from tallystick.ports.clock import SystemClock
from tallystick.wiring import Tallystick
from tests.fixtures.keys import key_for
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.postgres import postgres_server
from tests.fixtures.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.postgres import PostgresServer

pytestmark = pytest.mark.slow  # servers start, and recover

DISK_KILOBYTES = 128 * 1_024
FILE_BYTES_MAX = {"data": 1_500_000, "log": 65_536}
"""More than a segment of the log and any table of a new database, which soon needs more; and less
than a segment, so that no commit gets through.
"""

ASKED_FOR = {"autovacuum": "off", "checkpoint_timeout": "1d"}
"""Nothing is written, or made room for, that no request asked for: however long a test takes."""

BATCH = 500
BATCHES_MAX = 400
NO_ROOM = ("No space left on device", "File too large")


class Room(Protocol):
    """What a server needs to write."""

    def fill(self) -> None:
        """Leave it none."""
        ...

    def make_room(self) -> None:
        """Give it enough again."""
        ...


class LimitedFiles:
    """Limits what the processes of a server may write of a file, those that it starts included."""

    def __init__(self, server: PostgresServer, file_bytes_max: int) -> None:
        self._server = server
        self._file_bytes_max = file_bytes_max

    def fill(self) -> None:
        """Let each write beyond the limit fail."""
        self._server.limit_files(str(self._file_bytes_max))

    def make_room(self) -> None:
        """Lift the limit; a server that ended starts without one."""
        if not self._server.has_ended():
            self._server.limit_files("unlimited")


@contextmanager
def small_server(way: str, what: str) -> Iterator[tuple[PostgresServer, Room]]:
    """Start a server, as durable as in production, whose room for data or for its log can end."""
    with ExitStack() as stack:
        segments = ["--wal-segsize=1"]
        if way == "limited files":
            server = stack.enter_context(postgres_server(ASKED_FOR, initdb=segments))
            yield server, LimitedFiles(server, FILE_BYTES_MAX[what])
            return
        outside = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        outside.chmod(0o755)  # the server has another user than the tests of root
        disk = stack.enter_context(small_disk(outside / "disk", DISK_KILOBYTES, "1777"))
        data = disk.folder / "data" if what == "data" else None
        if what == "log":
            segments.append(f"--waldir={disk.folder / 'log'}")
        else:
            (outside / "log").mkdir()
            (outside / "log").chmod(0o1777)
            segments.append(f"--waldir={outside / 'log' / 'segments'}")
        server = stack.enter_context(
            postgres_server(ASKED_FOR, initdb=segments, disk=disk, data=data)
        )
        yield server, disk


@dataclass
class Sender:
    """Sends batches of events, each with the same value of 1, and keeps what was answered."""

    url: str
    key: str
    answers: list[httpx2.Response] = field(default_factory=list)

    def send(self, number: int) -> httpx2.Response:
        """Send a batch by its number."""
        events = [
            {
                "id": f"{number}-{each}",
                "type": "http_request",
                "customer": "acme",
                "time": "2026-01-01T00:00:00Z",
                "properties": {"path": f"/{number}/{each}"},
            }
            for each in range(BATCH)
        ]
        return httpx2.post(
            f"{self.url}/v1/events", json=events, headers=self._headers, timeout=PATIENCE_SECONDS
        )

    def send_next(self) -> httpx2.Response:
        """Send the batch after the last one."""
        self.answers.append(self.send(len(self.answers)))
        return self.answers[-1]

    def measured(self) -> int:
        """Return how many requests of the customer are counted."""
        answer = httpx2.get(
            f"{self.url}/v1/customers/acme/usage",
            params={"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
            headers=self._headers,
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == 200, answer.text
        (requests,) = (one for one in answer.json()["usage"] if one["meter"] == "api_requests")
        return int(requests["quantity"])

    def check_each_again(self) -> None:
        """Send all again: what was acknowledged is there, what was refused is not, and no batch is
        there in part; then all is.
        """
        for number, first in enumerate(self.answers):
            again = self.send(number).json()
            assert (again["accepted"], again["duplicates"]) in ((BATCH, 0), (0, BATCH))
            if first.status_code == 200:
                assert again["duplicates"] == BATCH
            elif first.json()["code"] != "store_outcome_unknown":
                assert again["accepted"] == BATCH
        assert self.measured() == len(self.answers) * BATCH

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@contextmanager
def sender_to(server: PostgresServer, folder: Path) -> Iterator[Sender]:
    """Serve the API on a new database of the server; check the invariants afterwards."""
    server.execute("CREATE DATABASE product")
    settings = Settings(database_url=server.url("product"))
    with Tallystick(settings) as product:
        catalog = read_catalog(CATALOG_FILE)
        meter_ids = {meter.key: f"mtr_{meter.key}" for meter in catalog.meters}
        price_ids = {price.key: f"price_{price.key}" for price in catalog.prices}
        product.catalog.keep(catalog, meter_ids, price_ids, SystemClock().now())
        key = key_for(product, "test")
    environment = {"TALLYSTICK_DATABASE_URL": settings.database_url}
    serve = ["serve", "--no-workers", "--port", "0"]
    with LocalServer("server", serve, environment, folder) as api:
        sender = Sender(api.url, key)
        for _ in range(3):
            assert sender.send_next().json()["accepted"] == BATCH
        yield sender
        sender.check_each_again()
    with Tallystick(settings) as product, product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
    assert [finding for check in checks for finding in check.findings] == []


def assert_refused(answer: httpx2.Response, *codes: str) -> None:
    """Check that a client knows what happened and what to do."""
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text
    assert answer.json()["code"] in codes, answer.text


@pytest.mark.parametrize("way", ["small disk", "limited files"])
def test_data_without_room_cost_an_error_that_names_it(way: str, tmp_path: Path) -> None:
    """The log has a disk of its own here, so that the server lives on and needs nobody."""
    with (
        small_server(way, "data") as (server, room),
        sender_to(server, tmp_path) as sender,
    ):
        before = server.process_ids[0]
        room.fill()
        while (refused := sender.send_next()).status_code == 200:
            assert len(sender.answers) < BATCHES_MAX
        for answer in (refused, sender.send_next()):
            assert_refused(answer, "store_unavailable")
            assert any(words in answer.json()["detail"] for words in NO_ROOM)
            assert "nothing was stored" in answer.json()["detail"]
        acknowledged = sum(answer.status_code == 200 for answer in sender.answers)
        assert sender.measured() == acknowledged * BATCH
        room.make_room()
        assert sender.send_next().json()["accepted"] == BATCH
        assert server.process_ids[0] == before


@pytest.mark.parametrize("way", ["small disk", "limited files"])
def test_a_log_without_room_ends_the_server_and_loses_nothing(way: str, tmp_path: Path) -> None:
    """PostgreSQL ends itself then; whoever looks after it starts it again once there is room."""
    with (
        small_server(way, "log") as (server, room),
        sender_to(server, tmp_path) as sender,
    ):
        room.fill()
        while not server.has_ended():
            sender.send_next()
            assert len(sender.answers) < BATCHES_MAX
        assert_refused(sender.send_next(), "store_unavailable", "store_busy")
        for answer in sender.answers:
            if answer.status_code != 200:
                codes = ("store_unavailable", "store_busy", "store_outcome_unknown")
                assert_refused(answer, *codes)
        assert any(words in server.said() for words in NO_ROOM)
        room.make_room()
        server.start()
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while sender.send_next().status_code != 200:
            assert time.monotonic() < give_up_at
