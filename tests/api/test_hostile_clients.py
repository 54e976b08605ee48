"""Requests that nobody well-meaning sends: none brings the server down, none is answered by 5xx."""

from __future__ import annotations

import gzip
import http.client
import json
import resource
import socket
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tallystick.api.openapi import openapi_document
from tallystick.cli.local_servers import LocalServer
from tallystick.config import Settings
from tallystick.wiring import Tallystick
from tests.fixtures.commands import answer_of
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.served import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@schemathesis.serializer("application/x-ndjson")
def write_ndjson(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


IDLE_CONNECTIONS = 10_000
schema = schemathesis.openapi.from_dict(openapi_document())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the whole file: what one test does to it, the next would notice."""
    path = tmp_path_factory.mktemp("hostile") / "tallystick.db"
    with Tallystick(Settings(database_url=f"sqlite:///{path}")) as product, served(product) as made:
        yield made


def assert_alive(server: Served) -> None:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(
        str(parts.hostname), parts.port, timeout=PATIENCE_SECONDS
    )
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["status"]) == (200, "ok")
    connection.close()


@schema.parametrize()
@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
def test_nothing_that_the_description_allows_or_forbids_is_a_server_error(
    case: Any, server: Served
) -> None:
    answer = case.call(base_url=server.url, headers=server.headers, timeout=PATIENCE_SECONDS)
    case.validate_response(
        answer,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
    )


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "type", "customer", "time", "value", "source", "properties", "data"]
            )
            | st.text(max_size=8),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)

surrogates = st.text(st.characters(categories=["Cs", "L"]), max_size=8)
bodies = st.one_of(
    surrogates.map(lambda text: json.dumps([{"id": text, "value": float("nan")}]).encode()),
    surrogates.map(lambda text: json.dumps({"id": text, text: text}).encode()),
    st.binary(max_size=200),
    json_like.map(lambda value: json.dumps(value).encode()),
    st.lists(json_like, max_size=4).map(lambda value: json.dumps(value).encode()),
    json_like.map(lambda value: gzip.compress(json.dumps(value).encode())),
)


@given(
    body=bodies,
    content_type=st.sampled_from(
        [
            "application/json",
            "application/x-ndjson",
            "application/cloudevents+json",
            "application/cloudevents-batch+json",
        ]
    ),
    encoding=st.sampled_from(["identity", "gzip"]),
)
@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
def test_whatever_a_body_holds_it_is_answered(
    server: Served, body: bytes, content_type: str, encoding: str
) -> None:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(
        str(parts.hostname), parts.port, timeout=PATIENCE_SECONDS
    )
    headers = {
        **server.headers,
        "Content-Type": content_type,
        "Content-Encoding": encoding,
    }
    connection.request("POST", "/v1/events", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status in (200, 400, 413, 415), text
    if answer.status == 200:
        for index, result in enumerate(json.loads(text)["results"]):
            assert result["index"] == index
            assert result["status"] in ("accepted", "duplicate", "conflict", "invalid")
            assert (result["code"] is None) == (result["status"] in ("accepted", "duplicate"))


def test_a_gzip_bomb_is_refused_without_being_unpacked(server: Served) -> None:
    packer = zlib.compressobj(wbits=31)  # in parts: the memory for them is not what is measured
    packed = [packer.compress(gzip.compress(b"\0" * 1_000_000))]
    packed += [packer.compress(b" " * 1_000_000) for _ in range(500)]
    bomb = b"".join((*packed, packer.flush()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(
        str(parts.hostname), parts.port, timeout=PATIENCE_SECONDS
    )
    headers = {**server.headers, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    connection.request("POST", "/v1/events", bomb, headers)
    assert connection.getresponse().status == 413
    connection.close()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 100_000
    assert_alive(server)


def test_slow_clients_hold_nobody_up(server: Served) -> None:
    parts = urlsplit(server.url)
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    ).encode()
    slow = []
    for _ in range(100):
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.sendall(head + b"[")
        slow.append(connection)
    for _ in range(20):
        for connection in slow:
            connection.sendall(b" ")
        assert_alive(server)
    for connection in slow:
        connection.close()
    assert_alive(server)


def test_ten_thousand_idle_connections_do_no_harm(tmp_path: Path) -> None:
    """The server is a process of its own here: each side has its own limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= IDLE_CONNECTIONS + 500, "the machine allows too few open files for this test"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE_CONNECTIONS + 500), hard))
    environment = {"TALLYSTICK_DATABASE_URL": f"sqlite:///{tmp_path / 'idle.db'}"}
    answer_of("init", environment=environment)
    idle = []
    try:
        with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as process:
            server = Served(process.url, "")
            parts = urlsplit(process.url)
            for _ in range(IDLE_CONNECTIONS):
                idle.append(socket.create_connection((parts.hostname, parts.port)))
            assert_alive(server)
            for connection in idle:
                connection.close()
            assert_alive(server)
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
