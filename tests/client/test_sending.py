"""Sending to servers that hang, close, or answer with something else; and what is said of it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, NamedTuple

import pytest

import tallystick
from tallystick.client.connection import ServerConnection, ServerRefused, ServerUnreachable
from tests.client.test_recorder import NOWHERE, Installation
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.config import Settings


@pytest.fixture
def installation(stripe_settings: Settings, tmp_path: Path) -> Installation:
    return Installation(stripe_settings, tmp_path)


class Answer(NamedTuple):
    status: int
    body: str
    retry_after: str | None = None


class ScriptedServer:
    """Answers with what it was told, then with success; it may close idle connections."""

    def __init__(self, answers: list[Answer], *, closes: bool = False) -> None:
        self.ids: list[str] = []
        self.connections = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = PATIENCE_SECONDS

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
                ids = [json.loads(line)["id"] for line in body.splitlines()]
                answer = answers.pop(0) if answers else outer.taken(ids)
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                if answer.retry_after:
                    self.send_header("Retry-After", answer.retry_after)
                self.end_headers()
                self.wfile.write(answer.body.encode())
                self.close_connection = closes

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def taken(self, ids: list[str]) -> Answer:
        self.ids += ids
        results = [{"status": "accepted"} for _ in ids]
        return Answer(200, json.dumps({"accepted": len(ids), "duplicates": 0, "results": results}))

    @contextmanager
    def running(self) -> Iterator[ScriptedServer]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


ODD_ANSWERS = [
    Answer(502, "<html>Bad Gateway</html>"),
    Answer(500, '"a text"'),
    Answer(200, "[1, 2]"),
    Answer(200, '{"ok": true}'),
    Answer(200, '{"accepted": 0, "duplicates": 0, "results": []}'),
    Answer(200, '{"results": [{"status": "accepted"}]}'),
    Answer(200, '{"accepted": 1, "duplicates": 0, "results": [null]}'),
    Answer(401, '{"status": 401, "code": "unauthorized", "detail": "no such key"}'),
    Answer(302, ""),
]


@pytest.mark.parametrize("odd", ODD_ANSWERS, ids=lambda odd: f"{odd.status} {odd.body[:30]}")
def test_an_odd_answer_is_a_failure_and_the_events_are_sent_again(
    odd: Answer, tmp_path: Path
) -> None:
    with (
        ScriptedServer([odd]).running() as server,
        tallystick.Client(server.url, "key", spool=tmp_path) as client,
    ):
        recorded = client.record("http_request", customer="acme")
        assert client.flush(PATIENCE_SECONDS)
        assert client.metrics.failed_requests == 1
        assert client.metrics.last_error
    assert server.ids == [recorded]


def test_a_server_is_left_alone_for_as_long_as_it_asks() -> None:
    answers = [Answer(503, '{"status": 503, "code": "busy", "detail": "wait"}', "7")]
    with ScriptedServer(answers).running() as server:
        connection = ServerConnection(server.url, "key")
        with pytest.raises(ServerUnreachable, match="503 busy: wait") as caught:
            connection.post_events([b'{"id":"a"}'])
        connection.close()
    assert caught.value.retry_after_seconds == 7


def test_attempts_are_further_and_further_apart_and_never_in_step(tmp_path: Path) -> None:
    with tallystick.Client(NOWHERE, "key", spool=tmp_path) as client:
        pause_after = client._sender._pause_after
        for failures, longest in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30]):
            pauses = [pause_after(ServerUnreachable("away"), failures) for _ in range(50)]
            assert all(0 <= pause <= longest for pause in pauses)
            assert len(set(pauses)) > 40
            assert max(pauses) > longest / 2
            asked = [pause_after(ServerUnreachable("busy", 7), failures) for _ in range(50)]
            assert all(7 <= pause <= 7 + longest for pause in asked)


def test_a_connection_that_the_server_closed_when_idle_is_no_failure() -> None:
    with ScriptedServer([], closes=True).running() as server:
        connection = ServerConnection(server.url, "key")
        for number in range(3):
            assert connection.post_events([b'{"id":"%d"}' % number]).accepted == 1
        connection.close()
    assert server.ids == ["0", "1", "2"]
    assert server.connections == 3


def test_a_refusal_names_its_reason() -> None:
    with ScriptedServer([ODD_ANSWERS[-2]]).running() as server:
        connection = ServerConnection(server.url, "key")
        with pytest.raises(ServerRefused, match="401 unauthorized: no such key"):
            connection.post_events([b'{"id":"a"}'])
        connection.close()


def test_closing_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    """It takes connections and never answers; a request would wait longer than closing does."""
    before = set(threading.enumerate())
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = tallystick.Client(url, "key", spool=tmp_path)
        client.record("http_request", customer="acme")
        taken, _ = silent.accept()
        with taken:
            assert taken.recv(10)
            assert not client.close(0.1)
    (path,) = tmp_path.glob("*.ndjson")  # released, for whoever comes next
    assert path.read_bytes().count(b"\n") == 1
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert "tallystick-client" not in left


@pytest.mark.parametrize(
    ("url", "key"),
    [
        (NOWHERE, ""),
        (NOWHERE, "tsk_secret\n"),
        (NOWHERE, "tsk_secret\u00e4"),
        ("http://user:tsk_secret@127.0.0.1:9", "key"),
        ("ftp://127.0.0.1", "tsk_secret"),
        ("127.0.0.1:8787", "tsk_secret"),
    ],
)
def test_an_address_or_key_that_cannot_be_is_refused_without_its_secret(
    url: str, key: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"key|address") as caught:
        tallystick.Client(url, key, spool=tmp_path)
    assert "secret" not in str(caught.value)


def test_the_key_is_never_logged(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        installation.serve() as server,
        tallystick.Client(server.url, "tsk_secret", spool=installation.spool) as client,
    ):
        client.record("http_request", customer="acme")
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not client.metrics.failed_requests:
            assert time.monotonic() < give_up_at
            assert not client.flush(0.1)
        client.close(0)
    assert "sending failed" in caplog.text
    assert "secret" not in caplog.text + repr(client) + str(client.metrics)


def test_damaged_lines_are_kept_and_their_neighbours_arrive(installation: Installation) -> None:
    """A crash of the machine may leave anything in what was not forced to the disk."""
    installation.spool.mkdir()
    event = b'{"id":"%s","type":"http_request","customer":"acme","time":"2015-05-18T10:00:00Z"}'
    lines = [
        event % b"before",
        b"\0\0\0\0" + event % b"damaged",
        b"",
        b'{"id":"\xff"}',
        b'{"id": "half"',
        event % b"after",
    ]
    (installation.spool / "1-dead.ndjson").write_bytes(b"\n".join(lines) + b"\n" + b'{"id":"to')
    with installation.serve() as server, installation.client(server.url) as client:
        wait_for_stored(installation, {"before", "after"})
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while client.metrics.rejected < 4 and time.monotonic() < give_up_at:
            time.sleep(0.05)
        assert (client.metrics.accepted, client.metrics.rejected) == (2, 4)
        wait_until_emptied(installation.spool, "rejected.jsonl")
    (kept,) = installation.spool.iterdir()
    assert [json.loads(line)["code"] for line in kept.read_text("utf-8").splitlines()] == [
        "unreadable"
    ] * 4


def test_refused_events_that_find_no_room_are_logged_whole_and_hold_nothing_up(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    installation.spool.mkdir()
    (installation.spool / "rejected.jsonl").mkdir()  # cannot be written, whoever the user is
    with installation.serve() as server, installation.client(server.url) as client:
        client.record("no_such_type", customer="acme", id="wrong")
        client.record("http_request", customer="acme", id="right")
        assert client.flush(PATIENCE_SECONDS)
        assert (client.metrics.accepted, client.metrics.rejected) == (1, 1)
    assert "unknown_event_type" in caplog.text
    assert '\\"id\\":\\"wrong\\"' in caplog.text
    assert installation.stored() == ["right"]


def wait_until_emptied(spool: Path, *kept: str) -> None:
    """Wait until a client has removed what it sent: it does so after it knows the answer."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while (found := {path.name for path in spool.iterdir()} - set(kept)) and (
        time.monotonic() < give_up_at
    ):
        time.sleep(0.05)
    assert found == set()


def wait_for_stored(installation: Installation, ids: set[str]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not ids <= set(installation.stored()):
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def test_a_busy_client_flushes_and_sends_what_others_left(installation: Installation) -> None:
    """Neither waits for a moment in which nobody records."""
    with tallystick.Client(NOWHERE, "key", spool=installation.spool) as gone:
        left = gone.record("http_request", customer="acme")
        gone.close(0)
    finished = threading.Event()
    with installation.serve() as server, installation.client(server.url) as client:

        def record() -> None:
            while not finished.wait(0.001):
                client.record("http_request", customer="acme")

        thread = threading.Thread(target=record)
        thread.start()
        try:
            assert client.flush(PATIENCE_SECONDS)
            wait_for_stored(installation, {left})
        finally:
            finished.set()
            thread.join()
        assert client.flush(PATIENCE_SECONDS)
        wait_until_emptied(installation.spool)  # the answer for what was left is here too
        assert client.close(PATIENCE_SECONDS)
        assert client.metrics.recorded == client.metrics.accepted - 1
    stored = installation.stored()
    assert len(stored) == len(set(stored)) == client.metrics.accepted


FORK_AND_DIE = """
    import os, signal, sys, time, tallystick
    client = tallystick.Client(sys.argv[1], "key", spool=sys.argv[2])
    client.record("http_request", customer="acme", id="parent")
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_living_child_does_not_hold_what_its_killed_parent_left(
    installation: Installation,
) -> None:
    script = textwrap.dedent(FORK_AND_DIE)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, NOWHERE, str(installation.spool)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert parent.wait() == -signal.SIGKILL
        with installation.serve() as server, installation.client(server.url):
            wait_for_stored(installation, {"parent"})
            os.kill(child, 0)  # it lives still
    assert installation.stored() == ["parent"]


RECORD_AND_WAIT = """
    import sys, time, tallystick
    client = tallystick.Client(sys.argv[1], sys.argv[2], spool=sys.argv[3])
    for number in range(700):
        client.record("http_request", customer="acme", id=f"{number}")
    print("recorded", flush=True)
    client.flush()
"""


def test_a_client_killed_between_send_and_acknowledgement_doubles_nothing(
    installation: Installation,
) -> None:
    """What it sent was stored, and the answer never reached it."""
    with installation.serve() as server, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        script = textwrap.dedent(RECORD_AND_WAIT)
        with subprocess.Popen(
            [sys.executable, "-c", script, url, installation.key, str(installation.spool)],
            stdout=subprocess.PIPE,
            text=True,
        ) as sending:
            assert sending.stdout
            assert sending.stdout.readline() == "recorded\n"
            kill_when_answered(sending, listener, server.url)
        stored_before = installation.stored()
        assert stored_before
        with installation.client(server.url) as client:
            wait_for_stored(installation, {str(number) for number in range(700)})
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while client.metrics.accepted + client.metrics.duplicates < 700:
                assert time.monotonic() < give_up_at
                time.sleep(0.05)
            assert client.metrics.duplicates == len(stored_before)
    assert sorted(installation.stored(), key=int) == [str(number) for number in range(700)]


def kill_when_answered(
    sending: subprocess.Popen[str], listener: socket.socket, server_url: str
) -> None:
    """Pass on what a client sends, and kill it when the server answers."""
    caller, _ = listener.accept()
    host, _, port = server_url.removeprefix("http://").partition(":")
    with caller, socket.create_connection((host, int(port))) as server:

        def pass_on() -> None:
            while text := caller.recv(65_536):
                server.sendall(text)

        thread = threading.Thread(target=pass_on)
        thread.start()
        assert server.recv(65_536).startswith(b"HTTP/1.1 200")
        sending.kill()
        assert sending.wait() == -signal.SIGKILL
        thread.join()
