"""The client against a real server: what `record` took arrives once, whatever happens between."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from unittest import mock

import pytest

import tallystick
from tallystick.billing.catalog_file import read_catalog
from tallystick.cli.local_servers import LocalServer
from tallystick.client import moments as moments_module
from tallystick.client.moments import Moments, uuid7
from tallystick.client.spool import SEGMENT_BYTES_MAX, Segment
from tallystick.config import Settings
from tallystick.wiring import Tallystick
from tests.fixtures.keys import key_for
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.ports import free_port
from tests.fixtures.stripe_account import environment_of

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "http://127.0.0.1:9"


class Installation:
    """A database with the example's catalog and a key, whose server starts and stops as told."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.environment = environment_of(settings)
        self.folder = folder
        self.spool = folder / "spool"
        catalog = read_catalog(CATALOG_FILE)
        meter_ids = {meter.key: f"mtr_test_{meter.key}" for meter in catalog.meters}
        price_ids = {price.key: f"price_test_{price.key}" for price in catalog.prices}
        with Tallystick(settings) as product:
            product.catalog.keep(catalog, meter_ids, price_ids, product.clock.now())
            self.key = key_for(product, "test")

    def serve(self, port: int = 0) -> LocalServer:
        name = f"server-{uuid.uuid4().hex[:6]}"
        return LocalServer(name, ["serve", "--port", str(port)], self.environment, self.folder)

    def client(self, url: str) -> tallystick.Client:
        return tallystick.Client(url, self.key, spool=self.spool)

    def stored(self) -> list[str]:
        settings = Settings(database_url=self.environment["TALLYSTICK_DATABASE_URL"])
        with Tallystick(settings) as product:
            return [stored.event.id for stored in product.events.scan(0, 1_000_000)]


@pytest.fixture
def installation(stripe_settings: Settings, tmp_path: Path) -> Installation:
    return Installation(stripe_settings, tmp_path)


def test_recorded_events_arrive_with_all_that_was_said(installation: Installation) -> None:
    with installation.serve() as server, installation.client(server.url) as client:
        at = datetime(2015, 5, 18, 10, 30, tzinfo=UTC)
        began = time.time_ns() // 1000
        first = client.record("http_request", customer="acme")
        second = client.record(
            "http_request",
            customer='a "quoted" customer',
            value=Decimal("1E+3"),
            properties={"path": "/ä", "status": 200},
            id="mine",
            time=at,
        )
        ended = time.time_ns() // 1000
        assert client.flush(PATIENCE_SECONDS)
        metrics = client.metrics
    assert second == "mine"
    assert uuid.UUID(first).version == 7
    assert (metrics.recorded, metrics.accepted, metrics.rejected) == (2, 2, 0)
    assert metrics.waiting_bytes == 0
    with Tallystick(
        Settings(database_url=installation.environment["TALLYSTICK_DATABASE_URL"])
    ) as p:
        one, other = (stored.event for stored in p.events.scan(0, 10))
    assert (one.id, one.customer, one.value, one.source) == (first, "acme", Decimal(1), "default")
    assert began <= one.occurred_at <= ended
    assert (other.customer, other.value) == ('a "quoted" customer', Decimal(1000))
    assert other.occurred_at == int(at.timestamp()) * 1_000_000
    assert json.loads(other.properties) == {"path": "/ä", "status": 200}
    assert list(installation.spool.iterdir()) == []


def test_an_outage_of_the_server_loses_and_doubles_nothing(installation: Installation) -> None:
    with installation.serve(free_port()) as server:
        url = server.url
        client = installation.client(url)
        ids = [client.record("http_request", customer="acme") for _ in range(300)]
        assert client.flush(PATIENCE_SECONDS)
        server.kill()
    ids += [client.record("http_request", customer="acme") for _ in range(300)]
    assert not client.flush(0.2)
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not client.metrics.failed_requests:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert client.metrics.last_error is not None
    with installation.serve(int(url.rpartition(":")[2])):
        assert client.close(PATIENCE_SECONDS)
    assert sorted(installation.stored()) == sorted(ids)


RECORD_AND_DIE = """
    import os, signal, sys, tallystick
    client = tallystick.Client(sys.argv[1], sys.argv[2], spool=sys.argv[3])
    for number in range(200):
        print(client.record("http_request", customer="acme"), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_its_events_to_the_next(installation: Installation) -> None:
    ids: list[str] = []
    arguments = (NOWHERE, installation.key, str(installation.spool))
    for _ in range(2):
        died = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(RECORD_AND_DIE), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL
        ids += died.stdout.split()
    assert len(set(ids)) == 400
    with installation.serve() as server, installation.client(server.url):
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while list(installation.spool.iterdir()) and time.monotonic() < give_up_at:
            time.sleep(0.1)
    assert sorted(installation.stored()) == sorted(ids)
    assert list(installation.spool.iterdir()) == []


def test_a_process_that_ends_without_closing_has_flushed(installation: Installation) -> None:
    script = f"""
        import sys, tallystick, tallystick.client.recorder, tallystick.client.sender
        tallystick.client.recorder.EXIT_SECONDS = {PATIENCE_SECONDS}
        tallystick.client.sender.STOP_SECONDS = {PATIENCE_SECONDS}
        client = tallystick.Client(sys.argv[1], sys.argv[2], spool=sys.argv[3])
        print(*(client.record("http_request", customer="acme") for _ in range(200)))
    """
    with installation.serve() as server:
        arguments = (server.url, installation.key, str(installation.spool))
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        assert sorted(installation.stored()) == sorted(ended.stdout.split())
    assert list(installation.spool.iterdir()) == []


def test_a_full_disk_refuses_the_event_and_keeps_what_was_taken(
    installation: Installation,
) -> None:
    """The process may write no file beyond a size: to it, the disk is full."""
    script = """
        import resource, signal, sys, tallystick
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        client = tallystick.Client(sys.argv[1], sys.argv[2], spool=sys.argv[3])
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        refused = 0
        for number in range(40):
            try:
                print(client.record("http_request", customer="acme"), flush=True)
            except tallystick.SpoolFull:
                refused += 1
        sys.stderr.write(f"{refused}\\n")  # at once: the client's thread says things there too
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        print(client.record("http_request", customer="acme"), flush=True)
        client.close(0)
    """
    arguments = (NOWHERE, installation.key, str(installation.spool))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    refused = int(re.findall(r"^(\d+)$", done.stderr, re.MULTILINE)[-1])
    assert refused > 0
    assert len(ids) == 41 - refused
    with installation.serve() as server, installation.client(server.url):
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while len(installation.stored()) < len(ids) and time.monotonic() < give_up_at:
            time.sleep(0.1)
    assert sorted(installation.stored()) == sorted(ids)


def test_what_was_sent_leaves_the_disk(
    installation: Installation,
) -> None:
    """Without that, a disk that was full once would stay full for good."""
    with installation.serve() as server, installation.client(server.url) as client:
        client.record("http_request", customer="acme")
        assert client.flush(PATIENCE_SECONDS)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while list(installation.spool.iterdir()) and time.monotonic() < give_up_at:
            time.sleep(0.05)
        assert list(installation.spool.iterdir()) == []


def record_in_child(url: str, key: str, spool: str, number: int) -> None:
    with tallystick.Client(url, key, spool=spool, source=f"process-{number}") as client:
        for each in range(100):
            client.record("http_request", customer="acme", id=f"{each}")
        assert client.flush(PATIENCE_SECONDS)


def test_several_processes_share_a_spool(installation: Installation) -> None:
    with installation.serve() as server:
        context = multiprocessing.get_context("spawn")
        arguments = (server.url, installation.key, str(installation.spool))
        children = [
            context.Process(target=record_in_child, args=(*arguments, number))
            for number in range(3)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0, 0]
    assert len(installation.stored()) == 300


def test_a_forked_child_records_by_itself(installation: Installation) -> None:
    with installation.serve() as server:
        script = """
            import os, sys, tallystick
            client = tallystick.Client(sys.argv[1], sys.argv[2], spool=sys.argv[3])
            client.record("http_request", customer="acme", id="parent-before")
            child = os.fork()
            client.record("http_request", customer="acme", id="child" if child == 0 else "parent")
            client.close(120)
            if child:
                os.waitpid(child, 0)
        """
        arguments = (server.url, installation.key, str(installation.spool))
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *arguments], check=True
        )
    assert sorted(installation.stored()) == ["child", "parent", "parent-before"]


def test_an_event_that_the_server_refuses_is_kept_with_its_reason(
    installation: Installation,
) -> None:
    with installation.serve() as server, installation.client(server.url) as client:
        client.record("no_such_type", customer="acme", id="wrong")
        client.record("http_request", customer="acme", id="right")
        assert client.flush(PATIENCE_SECONDS)
        assert client.metrics.rejected == 1
    (line,) = (installation.spool / "rejected.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert kept["code"] == "unknown_event_type"
    assert json.loads(kept["event"])["id"] == "wrong"
    assert installation.stored() == ["right"]


def test_many_threads_record_at_once(installation: Installation) -> None:
    with installation.serve() as server, installation.client(server.url) as client:
        threads = [
            threading.Thread(
                target=lambda: [client.record("http_request", customer="acme") for _ in range(500)]
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(PATIENCE_SECONDS)
    assert len(set(installation.stored())) == 2_000


def test_it_is_used_from_a_coroutine(installation: Installation) -> None:
    async def use(url: str) -> int:
        async with installation.client(url) as client:
            client.record("http_request", customer="acme")
            assert await client.flush_async(PATIENCE_SECONDS)
            return client.metrics.accepted

    with installation.serve() as server:
        assert asyncio.run(use(server.url)) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"value": 0.1}, TypeError),
        ({"value": None}, TypeError),
        ({"value": "many"}, ValueError),
        ({"value": "NaN"}, ValueError),
        ({"value": True}, TypeError),
        ({"value": 10**15}, ValueError),
        ({"value": "1e999999999"}, ValueError),
        ({"value": "0." + "1" * 13}, ValueError),
        ({"customer": ""}, ValueError),
        ({"customer": "c" * 256}, ValueError),
        ({"id": ""}, ValueError),
        ({"time": datetime(2015, 5, 18)}, ValueError),  # noqa: DTZ001 - the missing offset is tested
        ({"properties": {"x": float("nan")}}, ValueError),
        ({"properties": {"x": "y" * 17_000}}, ValueError),
        ({"customer": "two\nlines"}, ValueError),
        ({"customer": "\ud800"}, ValueError),
    ],
)
def test_what_cannot_be_recorded_is_refused_at_once(
    arguments: dict[str, object], error: type[Exception], tmp_path: Path
) -> None:
    client = tallystick.Client(NOWHERE, "key", spool=tmp_path)
    with pytest.raises(error):
        client.record("http_request", **({"customer": "acme"} | arguments))  # type: ignore[arg-type]  # wrong on purpose
    assert client.metrics.recorded == 0
    client.close(0)
    with pytest.raises(ValueError, match="closed"):
        client.record("http_request", customer="acme")
    assert list(tmp_path.iterdir()) == []


def test_a_segment_that_is_full_is_followed_by_another(tmp_path: Path) -> None:
    client = tallystick.Client(NOWHERE, "key", spool=tmp_path)
    text = "x" * 16_000
    number = SEGMENT_BYTES_MAX // 16_000 + 2
    for _ in range(number):
        client.record("http_request", customer="acme", properties={"text": text})
    client.close(0)
    sizes = [path.stat().st_size for path in tmp_path.glob("*.ndjson")]
    assert len(sizes) == 2
    assert max(sizes) <= SEGMENT_BYTES_MAX


def test_a_line_that_was_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path)
    segment.append(b'{"id":"whole"}\n')
    os.write(os.open(segment.path, os.O_WRONLY | os.O_APPEND), b'{"id":"to')
    segment.forget()
    adopted = Segment.adopt(segment.path)
    assert adopted is not None
    lines, offset = adopted.waiting(10, 1_000)
    assert lines == [b'{"id":"whole"}']
    adopted.mark_sent(offset)
    assert adopted.waiting(10, 1_000) == ([], offset)
    adopted.delete()


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [uuid7(step) for step in range(1_000_000, 1_001_000)]
    assert ids == sorted(ids)
    assert len({uuid7(1) for _ in range(10_000)}) == 10_000
    for text in ids[:50]:
        assert uuid.UUID(text).version == 7
        assert uuid.UUID(text).variant == uuid.RFC_4122
    moments = Moments()
    made = [moments.next() for _ in range(10_000)]
    assert [event_id for event_id, _ in made] == sorted({event_id for event_id, _ in made})
    for event_id, at in made[:50]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", at)
        embedded_ms = uuid.UUID(event_id).int >> 80
        assert abs(embedded_ms - datetime.fromisoformat(at).timestamp() * 1000) <= 1


def test_a_clock_that_is_set_back_makes_no_id_twice_and_none_out_of_order() -> None:
    second = 1_000_000_000
    clock = [10 * second, 10 * second, 3 * second, 3 * second, 9 * second, 11 * second]
    moments = Moments()
    ours = mock.Mock(wraps=time, time_ns=mock.Mock(side_effect=clock))
    with mock.patch.object(moments_module, "time", ours):  # other threads look at the clock too
        made = [moments.next() for _ in clock]
    ids = [event_id for event_id, _ in made]
    assert ids == sorted(set(ids))
    seconds = [int(at[17:19]) for _, at in made]
    assert seconds == [10, 10, 3, 3, 9, 11]  # an event's time is what the clock says
    assert uuid.UUID(ids[-1]).int >> 80 == 11_000


def test_the_limits_of_this_process_are_its_own() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
