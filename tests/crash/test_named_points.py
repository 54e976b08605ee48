"""Killed at each named point: nothing acknowledged is missing, and nothing counted twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tallystick.config import Settings
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.domain.instants import format_instant, parse_instant
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.wiring import Tallystick
from tests.crash.die_at import CHECKPOINT_POINTS, COMMIT_POINTS, IMPORT_POINTS, SERVER_POINTS
from tests.fixtures.keys import key_for
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.served import served

if TYPE_CHECKING:
    from pathlib import Path

START = parse_instant("2015-05-18")
EVER = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))
BATCH = 6
NUMBER = 5
"""The passing of the point that is the last."""
WORKS_FOR_SECONDS = 2 * PATIENCE_SECONDS
"""How long a server is given work before somebody wonders why it is not dead."""


def id_of(number: int) -> str:
    """Return an id: of both kinds, in turns, that are kept in ways of their own."""
    head = "0192f3a4-b5c6-7d00-8000" if number % 2 else f"{number:08x}-5f5f-4d00-8000"
    return f"{head}-{number:012x}"


def number_of(event_id: str) -> int:
    return int(event_id[-12:], 16)


def an_event(number: int) -> UsageEvent:
    return UsageEvent(
        "s",
        id_of(number),
        "http_request",
        f"client-{number % 3}",
        START + number * 60_000_000,
        Decimal(number % 7),
        b'{"n":%d}' % number,
    )


def as_json(event: UsageEvent) -> dict[str, Any]:
    return {
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "customer": event.customer,
        "time": format_instant(event.occurred_at),
        "value": str(event.value),
        "properties": json.loads(event.properties),
    }


@pytest.fixture
def environment(settings: Settings, product: Tallystick) -> dict[str, str]:
    """What a process of its own needs for the product's database, which is closed by then."""
    key = key_for(product, "test")
    product.close()
    return {
        "TALLYSTICK_DATABASE_URL": settings.database_url,
        "TALLYSTICK_STRIPE_API_KEY": "",
        "TALLYSTICK_API_KEY": key,
        "PYTHONPATH": ".",
    }


def start(point: str, *command: str, environment: dict[str, str], log: Path) -> Any:
    number = 2 if point in CHECKPOINT_POINTS else NUMBER  # of the former there is one a second
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.crash.die_at", point, str(number), *command],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def url_of(log: Path) -> str:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        for line in log.read_text("utf-8").splitlines():
            if line.startswith("listening on "):
                return line.removeprefix("listening on ").strip()
        time.sleep(0.02)
    raise AssertionError(log.read_text("utf-8"))


class Client:
    """Sends events, history and corrections, and remembers what was sent and acknowledged."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_SECONDS
        )
        self.sent: dict[str, bool] = {}
        self.acknowledged: set[str] = set()
        self.void: set[str] = set()
        self.void_perhaps: set[str] = set()

    def work_until_killed(self) -> None:
        """Send until the server is gone."""
        with self._http:
            give_up_at = time.monotonic() + WORKS_FOR_SECONDS
            for number in count():
                assert time.monotonic() < give_up_at, "the server was not killed"
                try:
                    self._send(range(number * BATCH, number * BATCH + BATCH), number % 2 == 1)
                    self._void(id_of(number * BATCH))
                except httpx2.HTTPError:
                    return

    def _send(self, numbers: range, is_history: bool) -> None:
        events = [an_event(number) for number in numbers]
        self.sent.update((event.id, is_history) for event in events)
        path = "/v1/events/history" if is_history else "/v1/events"
        answer = self._http.post(path, json=[as_json(event) for event in events])
        assert answer.status_code == 200, answer.text
        assert answer.json()["accepted"] == len(events)
        self.acknowledged.update(event.id for event in events)

    def _void(self, event_id: str) -> None:
        self.void_perhaps = {event_id}
        answer = self._http.post(
            "/v1/events/void", json={"source": "s", "id": event_id, "reason": "a test"}
        )
        assert answer.json()["corrected"] == 1
        self.void.add(event_id)
        self.void_perhaps = set()


@pytest.mark.parametrize("point", [*SERVER_POINTS, *COMMIT_POINTS])
def test_a_server_killed_at_a_point_keeps_what_it_acknowledged(
    environment: dict[str, str], settings: Settings, tmp_path: Path, point: str
) -> None:
    log = tmp_path / "server.log"
    server = start(point, "serve", "--port", "0", environment=environment, log=log)
    try:
        client = Client(url_of(log), environment["TALLYSTICK_API_KEY"])
        client.work_until_killed()
        assert server.wait(PATIENCE_SECONDS) == -signal.SIGKILL, log.read_text("utf-8")
    finally:
        server.kill()
        server.wait()
    with Tallystick(settings) as product:
        assert_kept(product, client)


def assert_kept(product: Tallystick, client: Client) -> None:
    events = [an_event(number_of(event_id)) for event_id in client.sent]
    found = {event.id: product.events.find("s", event.id) for event in events}
    stored = {event_id for event_id, event in found.items() if event is not None}
    assert client.acknowledged <= stored
    assert len(stored) == product.events.count()
    assert all(found[event_id].is_history == client.sent[event_id] for event_id in stored)  # type: ignore[union-attr]  # they were found
    void = {event_id for event_id in stored if found[event_id].counts_for is None}  # type: ignore[union-attr]  # as above
    assert client.void <= void <= client.void | client.void_perhaps
    statuses = Counter(product.events.append(events, START).result())
    assert statuses[EventStatus.DUPLICATE] == len(stored)
    assert statuses[EventStatus.ACCEPTED] == len(events) - len(stored)
    meter = product.catalog.meters().by_key["api_requests"]
    for customer in {event.customer for event in events}:
        expected = [e for e in events if e.customer == customer and e.id not in void]
        assert len(expected) == product.usage.usage(meter, customer, EVER).event_count
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
    assert [finding for check in checks for finding in check.findings] == []


ONLY_ONCE = ("before the position is removed", "after the position is removed")
"""Points that an import passes once, at its end."""


@pytest.mark.parametrize("point", IMPORT_POINTS)
def test_an_import_killed_at_a_point_goes_on_where_it_stood(
    settings: Settings, product: Tallystick, tmp_path: Path, point: str
) -> None:
    file = tmp_path / "usage.ndjson"
    lines = [json.dumps(as_json(an_event(number))) for number in range(95)]
    for broken in range(7, 95, 20):
        lines[broken] = f'{{"id":"{id_of(broken)}"}}'
    file.write_text("\n".join(lines), "utf-8")
    with served(product) as server:
        environment = {"TALLYSTICK_API_KEY": server.key, "PYTHONPATH": "."}
        command = ("import", str(file), "--url", server.url, "--batch", "10", "--json")
        number = 1 if point in ONLY_ONCE else NUMBER
        first = subprocess.run(
            [sys.executable, "-m", "tests.crash.die_at", point, str(number), *command],
            env=environment,
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert first.returncode == -signal.SIGKILL, first.stderr
        again = subprocess.run(
            [sys.executable, "-m", "tallystick.cli.main", *command],
            env=environment,
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert again.returncode == 1, again.stdout
    tally = json.loads(again.stdout)
    if point != ONLY_ONCE[1]:
        assert tally["resumed_after_row"] >= 10 * (number - 2)
        assert tally["duplicates"] <= 10
    assert (tally["rows"], tally["refused"]) == (95, 5)
    assert tally["accepted"] + tally["duplicates"] == 90
    text = (tmp_path / "usage.ndjson.refused.ndjson").read_text("utf-8")
    refused = [json.loads(line) for line in text.splitlines()]
    assert [one["row"] for one in refused] == [8, 28, 48, 68, 88]
    assert product.events.count() == 90
    assert sorted(path.name for path in tmp_path.glob("usage.ndjson*")) == [
        "usage.ndjson",
        "usage.ndjson.refused.ndjson",
    ]
    meter = product.catalog.meters().by_key["api_requests"]
    states = [product.usage.usage_and_history(meter, f"client-{n}", EVER) for n in range(3)]
    assert sum(state.usage.event_count for state in states) == 90
    assert sum(state.live_count for state in states) == 0
