"""What answers in Stripe's place, and is not Stripe, is named: no page of it is printed."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from tallystick.ports.clock import SystemClock
from tallystick.ports.errors import PortError, StripeRefused, StripeUnreachable
from tallystick.stripe_gateway.connection import StripeConnection
from tallystick.stripe_gateway.readers import AccountReader

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = b"<!DOCTYPE html><title>Not here</title>"


class _Stranger(BaseHTTPRequestHandler):
    status = 404

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_arguments: object) -> None:
        """Keep what was asked to itself."""


@pytest.fixture(params=[404, 502])
def stranger(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    handler = type("Stranger", (_Stranger,), {"status": request.param})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", request.param
        server.shutdown()
        thread.join()


def test_a_page_in_stripes_place_is_not_taken_for_its_answer(stranger: tuple[str, int]) -> None:
    address, status = stranger
    connection = StripeConnection("sk_test_any", address, None, SystemClock())
    expected = StripeRefused if status == 404 else StripeUnreachable
    with pytest.raises(PortError) as refused:
        AccountReader(connection).account()
    assert type(refused.value) is expected
    assert f"HTTP status {status}" in str(refused.value)
    assert "<" not in str(refused.value)
    assert status == 502 or address in str(refused.value)
