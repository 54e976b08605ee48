"""How many signed webhooks a server takes in a second: each checked, stored and durable."""

from __future__ import annotations

import hashlib
import hmac
import json
import tempfile
import time
from pathlib import Path
from statistics import median

from tallystick.cli.local_servers import LocalServer
from tallystick.config import Settings
from tallystick.wiring import Tallystick
from tests.bench.load import Target, drive
from tests.bench.server import MeasuredServer

WEBHOOKS = 5_000
QUICK_WEBHOOKS = 500
ROUNDS = 3
CONNECTIONS = 16
"""As many as Stripe was seen to use at once, more or less; it does not say."""

GOAL_PER_SECOND = 1_000
SECRET = "whsec_bench"
DESCRIPTION = "x" * 3_000
"""Makes a body of a subscription's usual size."""


def results(*, quick: bool = False) -> list[dict[str, object]]:
    """Return the figures: the median of some rounds, and the processor time of each webhook."""
    count = QUICK_WEBHOOKS if quick else WEBHOOKS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'bench.db'}"
        with Tallystick(Settings(database_url=url)):
            pass
        environment = {
            "TALLYSTICK_DATABASE_URL": url,
            "TALLYSTICK_STRIPE_API_KEY": "",
            "TALLYSTICK_WEBHOOK_SECRETS": SECRET,
        }
        with LocalServer("bench", ["serve", "--port", "0"], environment, folder) as local:
            server = MeasuredServer(Target(local.url, ""), local.pid, folder / "bench.db")
            before = server.processor_seconds()
            rates = []
            for number in range(ROUNDS):
                # at a pace that the rate limit's burst allows
                requests = [request(number * count + each) for each in range(count)]
                taken = drive(server.target, requests, CONNECTIONS)
                rates.append(len(taken.latencies) / taken.seconds)
            used = server.processor_seconds() - before
    rate = median(rates)
    return [
        {
            "name": "webhooks_per_s",
            "value": round(rate),
            "unit": "webhooks/s",
            "goal": GOAL_PER_SECOND,
        },
        {
            "name": "webhook_processor_us",
            "value": round(1e6 * used / (ROUNDS * count)),
            "unit": "aside",
            "goal": None,
        },
    ]


def request(number: int) -> bytes:
    """Return one signed webhook as it stands on the wire."""
    body = json.dumps(
        {
            "id": f"evt_{number}",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": 1,
            "livemode": False,
            "type": "customer.subscription.updated",
            "data": {"object": {"id": "sub_1", "object": "subscription", "text": DESCRIPTION}},
        }
    ).encode()
    at = int(time.time())
    digest = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    head = (
        "POST /webhooks/stripe HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Stripe-Signature: t={at},v1={digest}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
