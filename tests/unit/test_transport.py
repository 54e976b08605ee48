"""How requests to Stripe travel: proxies, certificates, lost answers, and a stream's body."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest
import stripe
from stripe._encode import _api_encode
from urllib3 import HTTPSConnectionPool

from tallystick.stripe_gateway.stream_sink import _Events
from tallystick.stripe_gateway.transport import Transport
from tests.fixtures.ports import free_port

STRIPE = "https://api.stripe.com/v1/account"


def proxy(transport: Transport, url: str) -> str | None:
    found = transport.way_to(url).proxy
    return None if found is None else found.url


def test_the_environments_proxy_is_used_but_for_what_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("https_proxy", "http_proxy", "no_proxy"):  # these would win
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    transport = Transport()
    assert proxy(transport, STRIPE) == "http://proxy:3128"
    assert proxy(transport, "http://127.0.0.1:8080/v1/account") is None


def test_the_environment_is_read_once_for_each_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    transport = Transport()
    before = transport.way_to(STRIPE)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert transport.way_to(STRIPE) is before


def test_certificates_are_checked_with_and_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = Transport().way_to(STRIPE)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    for way in (direct, Transport().way_to(STRIPE)):
        pool = way.connection_from_url(STRIPE)
        assert isinstance(pool, HTTPSConnectionPool)
        assert (pool.cert_reqs, pool.ca_certs) == ("CERT_REQUIRED", stripe.ca_bundle_path)


def test_what_stays_without_an_answer_is_a_lost_connection() -> None:
    with pytest.raises(stripe.APIConnectionError, match="NewConnectionError"):
        Transport().request("get", f"http://127.0.0.1:{free_port()}/v1/account", {})


def test_an_answer_that_breaks_off_is_a_lost_connection() -> None:
    """Stripe may have taken what was sent: the outcome is unknown, whatever was read of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_in_part() -> None:
            connection, _ = listening.accept()
            with connection:
                asked = b""
                while not asked.endswith(b"\r\n\r\na=1"):  # with what is left unread it is reset
                    asked += connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")

        answering = threading.Thread(target=answer_in_part)
        answering.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/account"
        with pytest.raises(stripe.APIConnectionError, match="IncompleteRead"):
            Transport().request("post", url, {}, "a=1")
        answering.join()


def test_events_of_a_stream_are_json_and_not_encoded_as_a_form_too() -> None:
    """The official SDK encodes both, of which it sends one."""
    rows: list[dict[str, Any]] = [{"event_name": "calls", "payload": {"value": "1"}}] * 3
    assert json.loads(json.dumps({"events": _Events(rows)})) == {"events": rows}
    assert len(list(_api_encode({"events": rows}))) == 6
    assert len(list(_api_encode({"events": _Events(rows)}))) == 1
