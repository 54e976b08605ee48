"""What a SQLite file can run into: locked, full, not writable. Nothing is acknowledged then."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import httpx2
import pytest

from tallystick.billing.catalog_file import read_catalog
from tallystick.config import Settings
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.oversight.invariants import check_store
from tallystick.ports.errors import StoreUnavailable
from tallystick.storage.sqlite import database
from tallystick.storage.sqlite.database import SqliteDatabase
from tallystick.wiring import Tallystick
from tests.fixtures.keys import key_for
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_431_900_000_000_000
COPY = database._checkpoint


def some_events(first: int, count: int) -> list[UsageEvent]:
    return [
        UsageEvent(
            "s", str(number), "http_request", "acme", NOW, Decimal(1), b'{"x":"%d"}' % number
        )
        for number in range(first, first + count)
    ]


def assert_sound(product: Tallystick, stored: int) -> None:
    assert stored == product.events.count()
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
    assert [finding for check in checks for finding in check.findings] == []


def test_a_locked_database_stores_nothing_and_recovers(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    with mock.patch.object(database, "BUSY_TIMEOUT_MS", 50):
        product: Tallystick = request.getfixturevalue("product")
    product.events.append(some_events(0, 5), NOW).result()
    blocker = sqlite3.connect(settings.sqlite_path(), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="nothing was stored"):
        product.events.append(some_events(5, 5), NOW).result()
    blocker.execute("ROLLBACK")
    blocker.close()
    statuses = product.events.append(some_events(0, 10), NOW).result()
    assert statuses == [EventStatus.DUPLICATE] * 5 + [EventStatus.ACCEPTED] * 5
    assert_sound(product, 10)


def test_a_full_disk_stores_nothing_and_recovers(product: Tallystick) -> None:
    """SQLite's own limit on pages fails as a full disk does: in the middle of a commit."""
    product.events.append(some_events(0, 5), NOW).result()
    limit = product._database
    assert isinstance(limit, database.SqliteDatabase)
    (pages,) = limit.write(lambda connection: connection.execute("PRAGMA page_count").fetchone())
    limit.write(
        lambda connection: connection.execute(f"PRAGMA max_page_count={pages + 2}").fetchone()
    )
    with pytest.raises(StoreUnavailable, match="full"):
        product.events.append(some_events(5, 2_000), NOW).result()
    limit.write(lambda connection: connection.execute("PRAGMA max_page_count=1000000").fetchone())
    statuses = product.events.append(some_events(0, 2_005), NOW).result()
    assert (
        statuses.count(EventStatus.DUPLICATE),
        statuses.count(EventStatus.ACCEPTED),
    ) == (5, 2_000)
    assert_sound(product, 2_005)


def test_a_client_is_told_of_a_locked_database(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    with mock.patch.object(database, "BUSY_TIMEOUT_MS", 50):
        api: httpx2.Client = request.getfixturevalue("api")
    blocker = sqlite3.connect(settings.sqlite_path(), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    event = {"id": "a", "type": "http_request", "customer": "acme", "time": "2015-05-18T10:00:00Z"}
    refused = api.post("/v1/events", json=event)
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert refused.headers["retry-after"] == "1"
    blocker.execute("ROLLBACK")
    blocker.close()
    assert api.post("/v1/events", json=event).json()["accepted"] == 1


BOUND = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2, 3):
        if ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0):
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execv(sys.executable, [sys.executable, "-m", "tallystick.cli.main", *sys.argv[1:]])
"""
"""Runs a command whom permissions bind: root gives up for good to read, write and own regardless of
them (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER; 24 is PR_CAPBSET_DROP)."""

FILE_BYTES_MAX = 8_192
"""What a process may write of a file before each write fails: less than any commit needs."""


class OwnServer:
    """A server in a process that permissions bind, whoever runs the tests, and its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "tallystick.db"
        self.settings = Settings(database_url=f"sqlite:///{self.path}")
        with Tallystick(self.settings) as product:
            catalog = read_catalog(CATALOG_FILE)
            meter_ids = {meter.key: f"mtr_{meter.key}" for meter in catalog.meters}
            price_ids = {price.key: f"price_{price.key}" for price in catalog.prices}
            product.catalog.keep(catalog, meter_ids, price_ids, NOW)
            self.key = key_for(product, "test")
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder.with_name(folder.name + ".log")

    def permit(self, *, file: int, folder: int) -> None:
        """Change what may be done with the files and their folder."""
        self.folder.chmod(0o755)
        for path in self.folder.iterdir():
            path.chmod(file)
        self.folder.chmod(folder)

    def start(self) -> int | None:
        """Start; return the exit code of one that did not come up."""
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOUND, "serve", "--port", "0"],
                env={"TALLYSTICK_DATABASE_URL": self.settings.database_url},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
            )
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            if self._process.poll() is not None:
                return self._process.returncode
            for line in self.said.splitlines():
                if line.startswith("listening on "):
                    self.url = line.removeprefix("listening on ").strip()
                    return None
            time.sleep(0.02)
        raise AssertionError(self.said)

    @property
    def said(self) -> str:
        """What it printed, on one line however it was wrapped."""
        text = self.log.read_text("utf-8")
        return text if "listening" in text else " ".join(text.split())

    def limit_files(self, size: int) -> None:
        """Let each write of the server beyond so many bytes of a file fail, from now on."""
        assert self._process is not None
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def send(self, first: int, count: int) -> httpx2.Response:
        """Send events by their numbers."""
        events = [
            {
                "id": str(number),
                "type": "http_request",
                "customer": "acme",
                "time": "2015-05-18T10:00:00Z",
            }
            for number in range(first, first + count)
        ]
        return httpx2.post(
            f"{self.url}/v1/events",
            json=events,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=PATIENCE_SECONDS,
        )

    def stop(self) -> None:
        """End it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    """A server's files in a folder that every user can reach."""
    outside = Path(tempfile.mkdtemp())
    outside.chmod(0o755)
    folder = outside / "data"
    folder.mkdir()
    server = OwnServer(folder)
    try:
        yield server
    finally:
        server.stop()
        folder.chmod(0o755)
        shutil.rmtree(outside)


@pytest.mark.parametrize(
    ("file", "folder", "named"),
    [
        (0o444, 0o755, "cannot write the file"),
        (0o644, 0o555, "cannot make files in"),
        (0o000, 0o755, "cannot write the file"),
    ],
)
def test_a_server_whose_user_cannot_write_the_file_says_so_and_ends(
    own_server: OwnServer, file: int, folder: int, named: str
) -> None:
    own_server.permit(file=file, folder=folder)
    assert own_server.start() == 3
    assert f"{own_server.path} cannot be opened" in own_server.said
    assert named in own_server.said
    assert "Traceback" not in own_server.said

    own_server.permit(file=0o644, folder=0o755)
    assert own_server.start() is None
    assert own_server.send(0, 3).json()["accepted"] == 3


def test_a_server_that_finds_its_database_locked_ends_and_starts_again(
    own_server: OwnServer,
) -> None:
    blocker = sqlite3.connect(own_server.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    assert own_server.start() == 3
    assert "locked" in own_server.said
    assert "Traceback" not in own_server.said
    blocker.execute("ROLLBACK")
    blocker.close()
    assert own_server.start() is None
    assert own_server.send(0, 3).json()["accepted"] == 3


def test_permissions_that_go_while_a_server_runs_lose_nothing(own_server: OwnServer) -> None:
    """It holds its files open: what it acknowledges is durable, and it goes on without help."""
    assert own_server.start() is None
    assert own_server.send(0, 5).json()["accepted"] == 5
    own_server.permit(file=0o444, folder=0o555)
    acknowledged = 5
    for first in range(5, 50, 5):
        answer = own_server.send(first, 5)
        assert answer.status_code in (200, 503), answer.text
        acknowledged += answer.json().get("accepted", 0)
    own_server.stop()
    assert own_server.start() == 3
    own_server.permit(file=0o644, folder=0o755)
    assert own_server.start() is None
    assert own_server.send(0, 50).json()["duplicates"] == acknowledged
    own_server.stop()
    with Tallystick(own_server.settings) as product:
        assert_sound(product, 50)


def test_a_file_that_takes_no_more_acknowledges_nothing_until_it_does(
    own_server: OwnServer,
) -> None:
    """Writes that fail in the running server, as on a full or read-only disk."""
    assert own_server.start() is None
    assert own_server.send(0, 20).json()["accepted"] == 20
    own_server.limit_files(FILE_BYTES_MAX)
    for first in (20, 40):
        refused = own_server.send(first, 20)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert refused.headers["retry-after"] == "1"
        assert "nothing was stored" in refused.json()["detail"]
    own_server.limit_files(resource.RLIM_INFINITY)
    again = own_server.send(0, 60).json()
    assert (again["duplicates"], again["accepted"]) == (20, 40)
    own_server.stop()
    with Tallystick(own_server.settings) as product:
        assert_sound(product, 60)


def test_the_log_begins_anew_while_commits_follow_each_other(
    product: Tallystick, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 20)
    copied = threading.Event()

    def checkpoint(connection: sqlite3.Connection) -> int:
        pages = COPY(connection)
        copied.set()
        return pages

    monkeypatch.setattr(database, "_checkpoint", checkpoint)
    path = settings.sqlite_path()
    log = path.with_name(path.name + "-wal")
    store = SqliteDatabase(path, mock.Mock())
    written = 0
    while written < 4 * log.stat().st_size + 4_000_000 and written < 500_000_000:
        store.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO identity_filter VALUES (0, zeroblob(400000))"
            )
        )
        written += 400_000
        if written % 20_000_000 == 0:  # as fast as one can, but who copies may be kept from running
            assert copied.wait(PATIENCE_SECONDS)
            copied.clear()
    assert written < 500_000_000
    store.close()
