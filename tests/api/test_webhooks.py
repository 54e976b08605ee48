"""``POST /webhooks/stripe``: what is taken, what is refused, and that nothing waits for workers."""

from __future__ import annotations

import json
import random
import threading
from typing import TYPE_CHECKING, Any, cast

import httpx2
import msgspec
import pytest
from stripe import WebhookSignature

from tallystick.api.problems import Problem
from tallystick.api.webhooks import WEBHOOK_BYTES_MAX, WEBHOOKS_BURST, WebhookEndpoint
from tallystick.billing.inbox import InboxWorker
from tallystick.billing.stripe_mirror import StripeMirror
from tallystick.domain.instants import to_seconds
from tallystick.domain.webhook_signature import TOLERANCE_SECONDS
from tallystick.ports.directory import Account
from tallystick.ports.inbox import InboxState
from tallystick.wiring import Tallystick
from tests.fixtures.clock import FakeClock
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.served import served

if TYPE_CHECKING:
    from tallystick.config import Settings
    from tallystick.ports.mirror import ObjectKind, ObjectSource

SECRETS = ("whsec_new", "whsec_old")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with two signing secrets, as while one is rolled."""
    return msgspec.structs.replace(settings, webhook_secrets=SECRETS)


class Stripe:
    """Stripe, as far as it posts events: signs with its own library's signature."""

    def __init__(self, client: httpx2.Client, clock: FakeClock) -> None:
        self.client = client
        self.clock = clock

    def post(
        self, body: str, secret: str = SECRETS[0], *, at: int | None = None, header: str = ""
    ) -> httpx2.Response:
        signed = header or WebhookSignature.generate_signature_header(
            body, secret, to_seconds(self.clock.now()) if at is None else at
        )
        return self.client.post(
            "/webhooks/stripe",
            content=body.encode(),
            headers={"Stripe-Signature": signed, "Content-Type": "application/json"},
        )


@pytest.fixture
def stripe(api: httpx2.Client, clock: FakeClock) -> Stripe:
    return Stripe(api, clock)


def event(event_id: str = "evt_1", **fields: Any) -> str:
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "type": "customer.updated",
            "api_version": "2026-10-28.endive",
            "created": 1,
            "livemode": False,
            "data": {"object": {"id": "cus_1", "object": "customer"}},
            **fields,
        }
    )


def assert_refused(
    product: Tallystick, answer: httpx2.Response, status: int, code: str, kept: int = 0
) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert sum(product.inbox.counts().values()) == kept


@pytest.mark.parametrize("secret", SECRETS)
def test_a_signed_event_is_kept_as_it_came_with_either_secret(
    product: Tallystick, stripe: Stripe, secret: str
) -> None:
    body = event(note="as  it came").replace(", ", ",   ")
    answer = stripe.post(body, secret)
    assert (answer.status_code, answer.json()) == (200, {"received": True, "known": False})
    (kept,) = product.inbox.events(InboxState.WAITING, 10)
    assert (kept.event_id, kept.type, kept.body) == ("evt_1", "customer.updated", body.encode())


def test_a_tampered_body_is_refused(product: Tallystick, stripe: Stripe) -> None:
    at = to_seconds(stripe.clock.now())
    header = WebhookSignature.generate_signature_header(event(), SECRETS[0], at)
    answer = stripe.post(event().replace("cus_1", "cus_2"), header=header)
    assert_refused(product, answer, 400, "signature_wrong")
    moved = header.replace(f"t={at}", f"t={at + 1}")
    assert_refused(product, stripe.post(event(), header=moved), 400, "signature_wrong")


def test_a_stranger_s_secret_is_refused(product: Tallystick, stripe: Stripe) -> None:
    assert_refused(product, stripe.post(event(), "whsec_other"), 400, "signature_wrong")


def test_an_unsigned_webhook_is_refused(product: Tallystick, stripe: Stripe) -> None:
    answer = stripe.client.post("/webhooks/stripe", content=event().encode())
    assert_refused(product, answer, 400, "signature_missing")


@pytest.mark.parametrize(
    "header", ["t=1", "v1=00", "t=x,v1=00", "t=1,t=2,v1=0", "nonsense", "t=１,v1=0"]
)
def test_a_malformed_signature_is_refused(product: Tallystick, stripe: Stripe, header: str) -> None:
    answer = stripe.client.post(
        "/webhooks/stripe",
        content=event().encode(),
        headers=[(b"Stripe-Signature", header.encode())],
    )
    assert answer.status_code == 400
    assert answer.json()["code"] in ("signature_malformed", "signature_wrong")
    assert product.inbox.counts() == {}


@pytest.mark.parametrize("seconds", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1])
def test_a_signature_far_from_our_time_is_refused(
    product: Tallystick, stripe: Stripe, seconds: int
) -> None:
    at = to_seconds(stripe.clock.now()) + seconds
    assert_refused(product, stripe.post(event(), at=at), 400, "signature_too_old")


def test_a_replayed_webhook_stores_nothing_and_later_is_refused(
    product: Tallystick, stripe: Stripe
) -> None:
    at = to_seconds(stripe.clock.now())
    header = WebhookSignature.generate_signature_header(event(), SECRETS[0], at)
    assert stripe.post(event(), header=header).json()["known"] is False
    again = stripe.post(event(), header=header)
    assert (again.status_code, again.json()) == (200, {"received": True, "known": True})
    assert product.inbox.counts() == {InboxState.WAITING: 1}
    stripe.clock.advance((TOLERANCE_SECONDS + 1) * 1_000_000)
    assert_refused(product, stripe.post(event(), header=header), 400, "signature_too_old", kept=1)


def test_an_oversized_webhook_is_refused(product: Tallystick, stripe: Stripe) -> None:
    answer = stripe.post(event(note="x" * WEBHOOK_BYTES_MAX))
    assert_refused(product, answer, 413, "body_too_large")


@pytest.mark.parametrize("body", ["{}", "[]", "no json", '{"id": "a", "type": "b", "object": "c"}'])
def test_a_signed_body_that_is_no_event_is_refused(
    product: Tallystick, stripe: Stripe, body: str
) -> None:
    assert_refused(product, stripe.post(body), 400, "not_an_event")


def test_an_event_of_the_other_mode_is_refused(product: Tallystick, stripe: Stripe) -> None:
    product.installation.adopt(Account("acct_1", livemode=False))
    assert_refused(product, stripe.post(event(livemode=True)), 400, "wrong_mode")


def test_more_webhooks_than_allowed_are_refused(product: Tallystick, stripe: Stripe) -> None:
    """The test's clock stands still, so that the allowance is used up and never earned back."""
    body = event()
    statuses = {stripe.post(body).status_code for _ in range(3)}
    assert statuses == {200}
    endpoint = WebhookEndpoint(product)
    for _ in range(WEBHOOKS_BURST):
        endpoint._take_turn()
    with pytest.raises(Problem) as refused:
        endpoint._take_turn()
    assert (refused.value.status, refused.value.code) == (429, "too_many_webhooks")
    stripe.clock.advance(1_000_000)
    endpoint._take_turn()


def test_without_a_secret_nothing_is_taken(settings: Settings, clock: FakeClock) -> None:
    bare = msgspec.structs.replace(settings, webhook_secrets=())
    with (
        Tallystick(bare, clock) as product,
        served(product) as server,
        httpx2.Client(base_url=server.url, timeout=PATIENCE_SECONDS) as client,
    ):
        answer = Stripe(client, clock).post(event())
        assert_refused(product, answer, 403, "webhooks_not_configured")


class StuckSource:
    """A Stripe that does not answer until it is let."""

    api_version = "2026-10-28.endive"
    calls_per_second = 1

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def read(self, kind: ObjectKind, stripe_id: str) -> bytes | None:
        self.is_asked.set()
        assert self.may_answer.wait(PATIENCE_SECONDS)
        return None


def test_a_slow_worker_delays_no_answer(product: Tallystick, stripe: Stripe) -> None:
    source = cast("ObjectSource", StuckSource())
    worker = InboxWorker(
        inbox=product.inbox,
        mirror=product.mirror,
        stripe_mirror=StripeMirror(product.mirror, source, product.inbox, product.clock),
        source=source,
        meter_errors=product.meter_errors,
        clock=product.clock,
        jitter=random.Random(1),
    )
    stripe.post(event("evt_first"))
    thread = threading.Thread(target=worker.run)
    thread.start()
    stuck = cast("StuckSource", source)
    assert stuck.is_asked.wait(PATIENCE_SECONDS)
    for number in range(50):
        assert stripe.post(event(f"evt_{number}")).status_code == 200
    assert thread.is_alive()  # it stood still all the time, and would have for as long as it takes
    stuck.may_answer.set()
    thread.join()
    assert product.inbox.counts() == {InboxState.SETTLED: 51}
