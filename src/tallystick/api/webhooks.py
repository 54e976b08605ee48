"""``POST /webhooks/stripe``: what Stripe tells is kept at once, and dealt with later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec
from starlette.responses import Response

from tallystick.api.bodies import read_body
from tallystick.api.problems import RETRY_AFTER_SECONDS, Problem
from tallystick.billing.inbox import arrived
from tallystick.billing.stripe_objects import Event
from tallystick.config import PREFIX
from tallystick.domain.webhook_signature import SignatureError, check_signature
from tallystick.ports.inbox import Brought

if TYPE_CHECKING:
    from starlette.requests import Request

    from tallystick.config import Settings
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import Installation
    from tallystick.ports.inbox import Inbox

WEBHOOK_BYTES_MAX = 1_000_000
"""Bytes of one webhook: an invoice with ten lines, the most that an event shows, has 50,000."""

WEBHOOKS_PER_SECOND_MAX = 5_000
"""Webhooks taken in a second on average; Stripe repeats what was refused."""

WEBHOOKS_BURST = 10_000

_ANSWERS = {
    is_new: msgspec.json.encode({"received": True, "known": not is_new}) for is_new in (True, False)
}


class WebhookProduct(Protocol):
    """What the webhook endpoint needs of the product."""

    inbox: Inbox
    installation: Installation
    settings: Settings
    clock: Clock


class WebhookEndpoint:
    """Takes webhooks in: size, rate and signature first, then one durable insert."""

    def __init__(self, product: WebhookProduct) -> None:
        self._product = product
        self._allowance = float(WEBHOOKS_BURST)
        self._counted_at = product.clock.elapsed()
        self._livemode: bool | None = None

    async def post(self, request: Request) -> Response:
        """Answer one webhook: 200 once it is durable, or was already.

        Raises:
            Problem: 400 for what Stripe did not sign or send, 403 where no secret is set, 413, 429,
                and 503 where nothing can be stored.
        """
        self._take_turn()
        secrets = self._product.settings.webhook_secrets
        if not secrets:
            raise Problem(
                403,  # Stripe repeats whatever is not 2xx, for days
                "webhooks_not_configured",
                f"{PREFIX}WEBHOOK_SECRETS is not set; `tallystick webhooks setup` shows a secret",
            )
        body = await read_body(request, WEBHOOK_BYTES_MAX)
        now = self._product.clock.now()
        try:
            check_signature(body, request.headers.get("stripe-signature"), secrets, now)
        except SignatureError as error:
            raise Problem(400, error.code, str(error)) from None
        try:
            event = arrived(body, Brought.WEBHOOK)
            is_live = msgspec.json.decode(body, type=Event).livemode
        except ValueError as error:
            raise Problem(400, "not_an_event", str(error)) from None
        self._check_mode(is_live=is_live)
        is_new = await asyncio.wrap_future(self._product.inbox.add(event, now))
        return Response(_ANSWERS[is_new], media_type="application/json")

    def _take_turn(self) -> None:
        now = self._product.clock.elapsed()
        earned = (now - self._counted_at) * WEBHOOKS_PER_SECOND_MAX
        self._allowance = min(self._allowance + earned, float(WEBHOOKS_BURST))
        self._counted_at = now
        if self._allowance < 1:
            raise Problem(
                429,
                "too_many_webhooks",
                f"more than {WEBHOOKS_PER_SECOND_MAX} webhooks a second; Stripe repeats this one",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self._allowance -= 1

    def _check_mode(self, *, is_live: bool) -> None:
        """Test and live never mix: a database belongs to one of them."""
        if self._livemode is None:
            account = self._product.installation.account()
            self._livemode = None if account is None else account.livemode
        if self._livemode is not None and self._livemode != is_live:
            raise Problem(
                400,
                "wrong_mode",
                "the event is of live mode and this database of test mode, or the other way round",
            )
