"""What the sandbox tests are written with: a real process, and the official SDK."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stripe

from tests.fixtures.patience import PATIENCE_SECONDS
from tests.sandbox.conformance import CheckingClient

if TYPE_CHECKING:
    from types import TracebackType

COMMAND = "from typer import run; from tallystick.cli.sandbox import sandbox; run(sandbox)"
SOURCE = Path(__file__).parents[2] / "src"
MAY_2015 = int(datetime(2015, 5, 1, tzinfo=UTC).timestamp())
JUNE_2015 = int(datetime(2015, 6, 1, tzinfo=UTC).timestamp())
DAY_S = 86_400
HOUR_S = 3_600


def environment() -> dict[str, str]:
    """Return an environment in which a process runs this tree's code, where there is one."""
    if not SOURCE.is_dir():
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


class RunningSandbox:
    """``tallystick sandbox`` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.url = self._first_line().removeprefix("listening on ").strip()

    def _first_line(self) -> str:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        line = self._process.stdout.readline() if readable else ""
        if not line.startswith("listening on http://"):
            self.stop()
            raise RuntimeError(f"the sandbox did not start: {line!r}")
        return line

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop the process and return its exit status."""
        self._process.send_signal(how)
        status = self._process.wait(timeout=PATIENCE_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status

    def __enter__(self) -> RunningSandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.poll() is None:
                self.stop()


def client_for(url: str, key: str, **options: Any) -> stripe.StripeClient:
    """Return an official client whose addresses all lead to the sandbox.

    Every v1 exchange is checked against Stripe's OpenAPI facts (see conformance).
    """
    options.setdefault("http_client", CheckingClient())
    return stripe.StripeClient(
        key,
        base_addresses={"api": url, "connect": url, "files": url, "meter_events": url},
        **options,
    )


@dataclass(frozen=True)
class Rig:
    """A client and the steps that most tests take."""

    url: str
    key: str
    client: stripe.StripeClient

    @classmethod
    def fresh(cls, url: str, name: str) -> Rig:
        """Return a rig on an account that no other test uses."""
        key = f"sk_test_{hashlib.sha256(name.encode()).hexdigest()[:24]}"
        return cls(url, key, client_for(url, key))

    @property
    def v1(self) -> Any:
        """The client's v1 services."""
        return self.client.v1

    def clock(self, at: int = MAY_2015) -> Any:
        """Create a test clock."""
        return self.v1.test_helpers.test_clocks.create({"frozen_time": at})

    def customer(self, clock: Any = None, card: str | None = "pm_card_visa", **params: Any) -> Any:
        """Create a customer on a clock, with a default card unless ``card`` is None."""
        if clock is not None:
            params["test_clock"] = clock.id
        customer = self.v1.customers.create(params)
        if card is not None:
            method = self.v1.payment_methods.attach(card, {"customer": customer.id})
            self.v1.customers.update(
                customer.id, {"invoice_settings": {"default_payment_method": method.id}}
            )
        return customer

    def meter(self, name: str = "api_requests", formula: str = "sum", **params: Any) -> Any:
        """Create a billing meter."""
        return self.v1.billing.meters.create(
            {
                "display_name": name,
                "event_name": name,
                "default_aggregation": {"formula": formula},
                **params,
            }
        )

    def price(self, meter: Any = None, **params: Any) -> Any:
        """Create a monthly price with a product of its own; metered when a meter is given."""
        recurring: dict[str, Any] = {"interval": "month", **params.pop("recurring", {})}
        if meter is not None:
            recurring |= {"usage_type": "metered", "meter": meter.id}
        params.setdefault("product_data", {"name": "API"})
        if "product" in params:
            del params["product_data"]
        return self.v1.prices.create({"currency": "usd", "recurring": recurring, **params})

    def report(self, customer: Any, value: str | int, at: int, **params: Any) -> Any:
        """Send a v1 meter event."""
        return self.v1.billing.meter_events.create(
            {
                "event_name": params.pop("event_name", "api_requests"),
                "timestamp": at,
                "payload": {"stripe_customer_id": customer.id, "value": str(value)},
                **params,
            }
        )

    def stream(self, *events: dict[str, Any]) -> None:
        """Send events through the v2 stream, in a session of their own."""
        session = self.client.v2.billing.meter_event_session.create()
        streaming: Any = client_for(self.url, session.authentication_token)
        streaming.v2.billing.meter_event_stream.create({"events": list(events)})

    def own(self, method: str, path: str, body: Any = None) -> Any:
        """Call one of the sandbox's own addresses for this account."""
        request = urllib.request.Request(  # the URL is the sandbox's own
            f"{self.url}/_sandbox/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)

    def faults(self, *rules: dict[str, Any], seed: int = 0) -> Any:
        """Set the account's fault rules."""
        return self.own("POST", "faults", {"rules": list(rules), "seed": seed})

    def advance(self, clock: Any, to: int) -> Any:
        """Advance a clock and wait until it is ready."""
        self.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": to})
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            clock = self.v1.test_helpers.test_clocks.retrieve(clock.id)
            if clock.status == "ready":
                return clock
            if time.monotonic() > deadline:
                raise TimeoutError(f"the clock is {clock.status}")
            time.sleep(0.002)

    def counted(self, meter: Any, customer: Any, start: int, end: int, value: float) -> bool:
        """Wait until a customer's summary of a span shows a value; false where it never does."""
        span = {"customer": customer.id, "start_time": start, "end_time": end}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            (row,) = self.v1.billing.meters.event_summaries.list(meter.id, span).data
            if row.aggregated_value == value:
                return True
            time.sleep(0.05)
        return False

    def invoices(self, subscription: Any) -> list[Any]:
        """Return a subscription's invoices, oldest first."""
        found = self.v1.invoices.list({"subscription": subscription.id, "limit": 100}).data
        return list(reversed(found))


def instant(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    """Return seconds since the epoch of a UTC date."""
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())
