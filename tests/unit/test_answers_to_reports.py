"""What is answered to a report says something of that report, or of the call alone."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.domain.periods import Period
from tallystick.domain.reports import UsageReport
from tallystick.ports.clock import SystemClock
from tallystick.ports.stripe import AttemptResult, Dispatch
from tallystick.stripe_gateway.connection import StripeConnection
from tallystick.stripe_gateway.stream_sink import MeterEventStreamSink
from tallystick.stripe_gateway.usage_sink import MeterEventSink

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD = Period(0, 86_400_000_000)
PAGE = b"<!DOCTYPE html><title>Sign in to this network</title>"
SESSION = {
    "object": "v2.billing.meter_event_session",
    "id": "mes_1",
    "authentication_token": "token",
    "created": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-01T00:15:00Z",
    "livemode": False,
}


class _Answering(BaseHTTPRequestHandler):
    """Refuses what holds ``marked``, and takes the rest."""

    marked = b"ts1-marked"
    status = 400
    body = b""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("meter_event_session"):
            self._answer(200, json.dumps(SESSION).encode())
        elif self.marked in asked:
            self._answer(self.status, self.body)
        else:
            self._answer(200, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Keep what was asked to itself."""


@pytest.fixture
def connection(request: pytest.FixtureRequest) -> Iterator[StripeConnection]:
    status, body = request.param
    handler = type("Answering", (_Answering,), {"status": status, "body": body})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield StripeConnection("sk_test_any", address, None, SystemClock())
        server.shutdown()
        thread.join()


def refusal(message: str, **more: Any) -> bytes:
    said = {"type": "invalid_request_error", "message": message, **more}
    return json.dumps({"error": said}).encode()


def dispatch(name: str) -> Dispatch:
    identifier = f"ts1-{name}"
    report = UsageReport(
        1, "acme", "cus_1", "units", PERIOD, PERIOD, 0, Decimal(7), 3_600, identifier
    )
    return Dispatch(report, identifier)


@pytest.mark.parametrize(
    "connection",
    [
        (403, refusal("The provided key does not have the required permissions.")),
        (401, refusal("Invalid API Key provided.")),
        (403, PAGE),
        (404, PAGE),
        (200, PAGE),
    ],
    indirect=True,
)
@pytest.mark.parametrize("sink", [MeterEventSink, MeterEventStreamSink])
def test_what_is_wrong_with_the_call_condemns_no_report(
    connection: StripeConnection, sink: type[MeterEventSink | MeterEventStreamSink]
) -> None:
    (attempt,) = sink(connection).send([dispatch("marked")])
    assert attempt.result is AttemptResult.FAILED


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ((400, refusal("No.", code="no_meter")), AttemptResult.REFUSED),
        ((400, refusal("No.", code="duplicate_meter_event")), AttemptResult.KNOWN),
        ((400, refusal("No.", code="timestamp_too_far_in_past")), AttemptResult.TOO_LATE),
    ],
    indirect=["connection"],
)
def test_what_is_said_of_one_report_of_the_stream_is_not_said_of_its_neighbours(
    connection: StripeConnection, expected: AttemptResult
) -> None:
    sent = [dispatch(name) for name in ("first", "marked", "last")]
    attempts = MeterEventStreamSink(connection).send(sent)
    taken = AttemptResult.TAKEN
    assert [attempt.result for attempt in attempts] == [taken, expected, taken]
