"""`tallystick serve --api-processes`: the same answers as one process gives, under load too."""

from __future__ import annotations

import gzip
import json
import resource
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from stripe import WebhookSignature

from tallystick.api.bodies import BODY_BYTES_MAX
from tallystick.config import API_PROCESSES_MAX
from tallystick.wiring import Tallystick
from tests.fixtures.commands import tallystick
from tests.fixtures.divided import WEBHOOK_SECRET, Installation
from tests.fixtures.keys import key_for
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HUGE = "999999999999999"
FILE_BYTES_MAX = 8_192
"""What a process may write of a file before each write fails: less than any commit needs."""


def event(event_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": event_id,
        "type": "http_request",
        "customer": "acme",
        "time": "2015-05-18T10:00:00Z",
        **fields,
    }


def webhook(client: httpx2.Client, event_id: str) -> httpx2.Response:
    body = json.dumps(
        {
            "id": event_id,
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": 1,
            "livemode": False,
            "type": "customer.created",
            "data": {"object": {"id": "cus_1", "object": "customer"}},
        }
    )
    signed = WebhookSignature.generate_signature_header(body, WEBHOOK_SECRET, int(time.time()))
    headers = {"Stripe-Signature": signed}
    return client.post("/webhooks/stripe", content=body.encode(), headers=headers)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation of its own."""
    return Installation(tmp_path)


def answers(installation: Installation, count: int) -> Iterator[tuple[int, Any]]:
    """Return the status and body of many kinds of requests."""
    with installation.serve(count) as server, client_of(installation, server.url) as client:
        for response in _requests(client):
            yield response.status_code, response.json()


def client_of(installation: Installation, url: str) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {installation.key}"}
    return httpx2.Client(base_url=url, headers=headers, timeout=PATIENCE_SECONDS)


def _requests(client: httpx2.Client) -> Iterator[httpx2.Response]:
    batch = [event("a", value=2), event("b", properties={"x": "é\u0000"}), event("c", value="0.5")]
    yield client.post("/v1/events", json=batch)
    yield client.post("/v1/events", json=[*batch, event("d")])
    yield client.post("/v1/events", json=[event("a", value=3), event("e")])
    yield client.post("/v1/events", json=[event("f", time="1969-01-01T00:00:00Z"), event("g")])
    yield client.post("/v1/events", json=[event("h", type="no_such_type"), {"id": "i"}])
    packed = gzip.compress(json.dumps([event("j"), event("k")]).encode())
    yield client.post("/v1/events", content=packed, headers={"Content-Encoding": "gzip"})
    yield client.post("/v1/events", content=b"[", headers={"Content-Encoding": "gzip"})
    yield client.post("/v1/events", content=b"x" * (BODY_BYTES_MAX + 1))
    yield client.post("/v1/events", json=[event("l")], headers={"Authorization": "Bearer no"})
    yield client.post("/v1/events", json=[])
    yield client.get("/v1/events")
    full = [event(f"full{number}", value=HUGE) for number in range(9_223)]
    assert client.post("/v1/events", json=full).json()["accepted"] == len(full)
    yield client.post("/v1/events", json=[event("m"), event("n", value=HUGE), event("o")])
    yield client.post("/v1/events/history", json=[event("p", customer="other")])
    reason = {"reason": "a test"}
    yield client.post("/v1/events/void", json=[{"id": "a", **reason}, {"id": "zz", **reason}])
    yield client.post("/v1/events/replace", json=[{"id": "b", "value": "1.25", **reason}])
    yield client.post("/v1/events/replace", json=[{"id": "b", "value": "x", **reason}])
    yield client.get("/v1/customers/acme/usage?from=2015-05-01T00:00:00Z&to=2015-06-01T00:00:00Z")
    yield client.get("/v1/lateness?from=2015-05-01T00:00:00Z&to=2015-05-02T00:00:00Z")
    yield webhook(client, "evt_1")
    yield webhook(client, "evt_1")
    yield client.post("/webhooks/stripe", content=b"{}")
    yield client.get("/v1/customers/acme")


def test_api_processes_answer_as_one_process_does(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "divided").mkdir()
    one = list(answers(Installation(tmp_path / "one"), 0))
    divided = list(answers(Installation(tmp_path / "divided"), 1))
    assert one == divided
    assert {status for status, _ in one} == {200, 400, 401, 404, 405, 413}
    codes = json.dumps([body for _, body in one])
    for code in ("event_conflict", "usage_overflow", "not_found", "body_too_large"):
        assert f'"{code}"' in codes


def test_webhooks_keys_and_corrections_are_written_while_batches_pour_in(
    installation: Installation,
) -> None:
    stopping = threading.Event()
    failures: list[str] = []

    def pour(sender: int) -> None:
        with client_of(installation, server.url) as client:
            first = 0
            while not stopping.is_set():
                batch = [event(f"{sender}-{first + number}") for number in range(500)]
                answer = client.post("/v1/events", json=batch)
                if answer.status_code != 200:
                    failures.append(answer.text)
                first += 500

    with installation.serve(2) as server:
        senders = [threading.Thread(target=pour, args=(number,)) for number in range(2)]
        for sender in senders:
            sender.start()
        try:
            with client_of(installation, server.url) as client:
                client.post("/v1/events", json=[event("voided")])
                taken = [webhook(client, f"evt_{number}") for number in range(20)]
                made = client.post("/v1/keys", json={"name": "new"})
                void = client.post("/v1/events/void", json={"id": "voided", "reason": "a test"})
            with Tallystick(installation.settings) as beside:  # a command, say
                shown = key_for(beside, "beside")
            with httpx2.Client(base_url=server.url, timeout=PATIENCE_SECONDS) as client:
                headers = {"Authorization": f"Bearer {shown}"}
                used = client.post("/v1/events", json=[event("z")], headers=headers)
        finally:
            stopping.set()
            for sender in senders:
                sender.join()
    assert [(each.status_code, each.json()["known"]) for each in taken] == [(200, False)] * 20
    assert made.status_code == 200
    assert void.json()["corrected"] == 1
    assert used.json()["accepted"] == 1
    assert failures == []
    with Tallystick(installation.settings) as product:
        assert product.inbox.last_seq() == 20
        by_name = {key.name: key for key in product.api_keys.listed()}
        assert by_name["beside"].last_used_at is not None
        assert product.events.find("default", "voided") is not None


def test_a_disk_that_takes_no_more_is_told_through_the_api_process(
    installation: Installation,
) -> None:
    with installation.serve(1) as server, client_of(installation, server.url) as client:
        first = [event(str(number)) for number in range(20)]
        more = [event(str(number)) for number in range(20, 40)]
        assert client.post("/v1/events", json=first).json()["accepted"] == 20
        _, hard = resource.prlimit(server.store, resource.RLIMIT_FSIZE)
        resource.prlimit(server.store, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, hard))
        refused = client.post("/v1/events", json=more)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert "nothing was stored" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "1"
        resource.prlimit(server.store, resource.RLIMIT_FSIZE, (hard, hard))
        again = client.post("/v1/events", json=first + more).json()
    assert (again["duplicates"], again["accepted"]) == (20, 20)


@pytest.mark.parametrize(
    ("url", "count", "reason"),
    [
        ("postgresql://nobody@127.0.0.1:1/none", "1", "start several `tallystick serve`"),
        ("sqlite:///none.db", str(API_PROCESSES_MAX + 1), f"0 to {API_PROCESSES_MAX} can be"),
        ("sqlite:///none.db", "-1", f"0 to {API_PROCESSES_MAX} can be"),
    ],
)
def test_api_processes_are_refused_where_they_make_no_sense(
    tmp_path: Path, url: str, count: str, reason: str
) -> None:
    environment = {"TALLYSTICK_DATABASE_URL": url}
    refused = tallystick(
        "serve", "--api-processes", count, environment=environment, folder=tmp_path
    )
    assert refused.returncode == 2
    assert reason in " ".join(refused.stderr.split())


def test_a_setting_for_api_processes_out_of_range_is_named(tmp_path: Path) -> None:
    environment = {"TALLYSTICK_API_PROCESSES": str(API_PROCESSES_MAX + 1)}
    refused = tallystick("serve", environment=environment, folder=tmp_path)
    assert refused.returncode == 2
    assert "TALLYSTICK_API_PROCESSES is 65" in refused.stderr
