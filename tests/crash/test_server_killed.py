"""The server is killed during an import: nothing acknowledged is lost or counted twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tallystick.cli.local_servers import LocalServer
from tallystick.client.connection import ServerConnection, ServerUnreachable
from tallystick.config import Settings
from tallystick.domain.instants import parse_instant
from tallystick.domain.periods import Period
from tallystick.wiring import Tallystick
from tests.crash.die_at import COMMIT_POINTS
from tests.crash.test_named_points import url_of
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.paths import CATALOG_FILE, LOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.recount import recount
from tests.fixtures.stripe_account import environment_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAY = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))

IMPORT = ("import", "--format", "access-log", "--report")


@pytest.fixture
def environment(stripe_settings: Settings) -> dict[str, str]:
    """A new installation with the example's catalog and an API key."""
    environment = environment_of(stripe_settings)
    answer_of("init", environment=environment)
    answer_of("apply", str(CATALOG_FILE), environment=environment)
    key = answer_of("keys", "create", "test", environment=environment)["key"]
    return {**environment, "TALLYSTICK_API_KEY": key}


def measured(environment: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Return requests and bytes by customer, as the product says."""
    with Tallystick(Settings(database_url=environment["TALLYSTICK_DATABASE_URL"])) as product:
        meters = product.catalog.meters().by_key
        return {
            customer: (
                product.usage.usage(meters["api_requests"], customer, MAY).event_count,
                int(product.usage.usage(meters["bandwidth_bytes"], customer, MAY).total),
            )
            for customer in product.usage.customers()
        }


@pytest.fixture
def log(tmp_path: Path) -> str:
    """The example's log in a folder where an import may keep its position."""
    return str(shutil.copy(LOG_FILE, tmp_path))


def run_import(environment: Mapping[str, str], log: str, url: str) -> dict[str, Any]:
    return answer_of(*IMPORT, log, "--url", url, environment=environment)


def counts(tally: dict[str, Any]) -> tuple[int, ...]:
    return tuple(tally[name] for name in ("rows", "accepted", "duplicates", "refused"))


def test_an_import_counts_each_line_once_however_often_it_runs(
    environment: dict[str, str], log: str, tmp_path: Path
) -> None:
    with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server:
        first = run_import(environment, log, server.url)
        assert counts(first) == (10_000, 10_000, 0, 0)
        assert measured(environment) == recount()
        again = run_import(environment, log, server.url)
        assert counts(again) == (10_000, 0, 10_000, 0)
        assert measured(environment) == recount()
    assert len(recount()) == 1_753


def test_a_server_killed_in_the_middle_of_an_import_loses_and_doubles_nothing(
    environment: dict[str, str], log: str, tmp_path: Path
) -> None:
    """With its 60th batch of 20 lines, which is stored and not answered."""
    died_at = (COMMIT_POINTS[1], "60")
    with (tmp_path / "server.log").open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.die_at", *died_at, "serve", "--port", "0"],
            env={**environment, "PYTHONPATH": "."},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = url_of(tmp_path / "server.log")
        command = (*IMPORT, log, "--url", url, "--batch", "20")
        done = tallystick(*command, environment=environment, seconds_max=2 * PATIENCE_SECONDS)
        assert done.returncode == 3, done.stderr
        assert server.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    finally:
        server.kill()
        server.wait()
    with Tallystick(Settings(database_url=environment["TALLYSTICK_DATABASE_URL"])) as product:
        assert product.events.count() == 1_200
    port = urlsplit(url).port

    with LocalServer("again", ["serve", "--port", str(port)], environment, tmp_path) as again:
        tally = run_import(environment, log, again.url)
    assert tally["resumed_after_row"] == 1_180
    assert counts(tally) == (10_000, 10_000 - 20, 20, 0)  # the last ones came a second time
    assert measured(environment) == recount()
    checks = answer_of("verify", "--no-stripe", environment=environment)
    assert checks["ok"]
    assert {check["name"] for check in checks["checks"]} >= {
        "events_counted_once",
        "usage_equals_recount",
    }


def wait_for_events(environment: Mapping[str, str], number: int) -> None:
    with Tallystick(Settings(database_url=environment["TALLYSTICK_DATABASE_URL"])) as product:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while product.events.count() < number:
            assert time.monotonic() < give_up_at, "the import does not get on"
            time.sleep(0.005)


def test_what_was_acknowledged_before_a_kill_is_there(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Single events from four connections while the server is killed."""
    server = LocalServer("server", ["serve", "--port", "0"], environment, tmp_path)
    acknowledged: list[str] = []

    def send(name: str) -> None:
        connection = ServerConnection(server.url, environment["TALLYSTICK_API_KEY"])
        for number in range(100_000):
            event_id = f"{name}-{number}"
            line = (
                f'{{"id":"{event_id}","type":"http_request","customer":"{name}",'
                f'"time":"2015-05-18T10:00:00Z"}}'
            )
            try:
                connection.post_events([line.encode()])
            except ServerUnreachable:
                break
            acknowledged.append(event_id)
        connection.close()

    senders = [threading.Thread(target=send, args=(f"client-{number}",)) for number in range(4)]
    for sender in senders:
        sender.start()
    wait_for_events(environment, 200)
    server.kill()
    for sender in senders:
        sender.join()
    with Tallystick(Settings(database_url=environment["TALLYSTICK_DATABASE_URL"])) as product:
        stored = {event.event.id for event in product.events.scan(0, 1_000_000)}
        assert len(stored) == product.events.count()
    assert len(acknowledged) >= 196
    assert set(acknowledged) <= stored
    assert len(stored) <= len(acknowledged) + len(senders)
