"""Webhooks: signed, retried with back-off, and by request lost, doubled, late or out of order.

DOC:webhooks: ``Stripe-Signature: t=..,v1=hmac_sha256(secret, "{t}.{body}")`` with the endpoint's
whole secret; each retry is signed again; an endpoint's own API version shapes the body.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import TYPE_CHECKING

import msgspec

from tallystick.sandbox.delivery.events import encode_json
from tallystick.sandbox.delivery.meter_errors import MeterErrorReports
from tallystick.sandbox.delivery.post import post
from tallystick.sandbox.faults import Fault
from tallystick.sandbox.lifecycle.invoicing import schedule_finalization
from tallystick.sandbox.resources.events import matches_type
from tallystick.sandbox.resources.older_facts import StoredFacts
from tallystick.sandbox.shapes.events import render_event, render_notification
from tallystick.sandbox.state.outlets import Outlets
from tallystick.sandbox.wire.versions import NEWEST, read_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.sandbox.faults import Faults, Rule
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import Event, MeterEvent, WebhookEndpoint

CONCURRENT_MAX = 16


class Webhooks(Outlets):
    """Delivers the events of one account, and lets its faults strike."""

    def __init__(self, account: Account, faults: Iterable[Faults]) -> None:
        self._account = account
        self._faults = list(faults)
        self._gate = asyncio.Semaphore(CONCURRENT_MAX)
        self._invoices: dict[str, int] = {}
        self._clocks: dict[str, int] = {}
        self._quiet = asyncio.Event()
        self._sent_after: dict[str, asyncio.Event] = {}
        self.errors = MeterErrorReports(account)

    def has_listeners(self, kind: str) -> bool:
        """Say whether an endpoint wants a kind of event."""
        return any(self._wants(e, kind, is_thin=False) for e in self._account.webhook_endpoints)

    @staticmethod
    def _wants(endpoint: WebhookEndpoint, kind: str, *, is_thin: bool) -> bool:
        return (
            endpoint.is_enabled
            and endpoint.is_thin == is_thin
            and any(matches_type(pattern, kind) for pattern in endpoint.enabled_events)
        )

    def publish(self, event: Event) -> None:
        """Start to deliver an event to each endpoint that wants it."""
        for endpoint in self._account.webhook_endpoints:
            if self._wants(endpoint, event.type, is_thin=event.is_thin):
                self.send(event, endpoint)

    def send(self, event: Event, endpoint: WebhookEndpoint) -> None:
        """Deliver an event to an endpoint, as often and as late as the faults say."""
        event.pending_webhooks += 1
        body = self._body(event, endpoint)
        rules = [rule for faults in self._faults for rule in faults.of_webhook(event)]
        invoice = _invoice_of(event, body)
        self._begin(event, invoice)
        self._account.keep_task(
            asyncio.ensure_future(self._deliver(event, endpoint, body, rules, invoice))
        )

    def _body(self, event: Event, endpoint: WebhookEndpoint) -> bytes:
        if event.is_thin:
            return encode_json(render_notification(event))
        version = read_version(endpoint.api_version) if endpoint.api_version else NEWEST
        return encode_json(render_event(event, version, StoredFacts(self._account)))

    async def _deliver(
        self,
        event: Event,
        endpoint: WebhookEndpoint,
        body: bytes,
        rules: list[Rule],
        invoice: str | None,
    ) -> None:
        try:
            await self._hold(endpoint, rules)
            for _ in range(_copies_of(rules)):
                await self._try_until_answered(endpoint, body)
        finally:
            event.pending_webhooks -= 1
            self._end(event, invoice)

    async def _hold(self, endpoint: WebhookEndpoint, rules: list[Rule]) -> None:
        """Wait as long as the faults ask."""
        for rule in rules:
            if rule.kind is Fault.WEBHOOK_DELAY:
                await asyncio.sleep(rule.wait_s)
            elif rule.kind is Fault.WEBHOOK_REORDER:
                passed = self._sent_after.setdefault(endpoint.id, asyncio.Event())
                try:
                    await asyncio.wait_for(passed.wait(), rule.wait_s)
                except TimeoutError:
                    return

    async def _try_until_answered(self, endpoint: WebhookEndpoint, body: bytes) -> None:
        """Send, and send again after each pause, until an answer of 2xx or nothing is left."""
        settings = self._account.settings
        for pause_s in (0.0, *settings.webhook_retry_s):
            if pause_s:
                await asyncio.sleep(pause_s)
            if endpoint.id not in self._account.webhook_endpoints or not endpoint.is_enabled:
                return
            headers = {
                "Stripe-Signature": self._signature(endpoint.secret, body),
                "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            }
            async with self._gate:
                status = await post(endpoint.url, body, headers, settings.webhook_timeout_s)
            waiting = self._sent_after.pop(endpoint.id, None)
            if waiting is not None:
                waiting.set()
            if status is not None and 200 <= status < 300:
                return

    def _signature(self, secret: str, body: bytes) -> str:
        at = int(self._account.real_now())
        signed = f"{at}.".encode() + body
        digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        return f"t={at},v1={digest}"

    def _begin(self, event: Event, invoice: str | None) -> None:
        if invoice is not None:
            self._invoices[invoice] = self._invoices.get(invoice, 0) + 1
            if event.test_clock is not None:
                self._clocks[event.test_clock] = self._clocks.get(event.test_clock, 0) + 1

    def _end(self, event: Event, invoice: str | None) -> None:
        """Start an invoice's last hour once its creation was answered or given up on."""
        if invoice is None:
            return
        if event.test_clock is not None:
            self._clocks[event.test_clock] -= 1
            self._quiet.set()
        self._invoices[invoice] -= 1
        if self._invoices[invoice]:
            return
        del self._invoices[invoice]
        found = self._account.invoices.get(invoice)
        if found is None or found.webhooks_delivered_at is not None:
            return
        found.webhooks_delivered_at = self._account.now(found.test_clock)
        if found.status == "draft" and found.automatically_finalizes_at is not None:
            schedule_finalization(self._account, found)

    def awaits(self, invoice: str) -> bool:
        """Say whether an invoice's creation is still being delivered."""
        return invoice in self._invoices

    async def answered(self, test_clock: str) -> None:
        """Wait until no invoice of a clock has its creation on the way."""
        while self._clocks.get(test_clock):
            self._quiet.clear()
            await self._quiet.wait()

    def metering_failure(self, event: MeterEvent) -> tuple[str, str] | None:
        """Return how a rule rejects an accepted meter event."""
        for faults in self._faults:
            rule = faults.of_meter_event(event)
            if rule is not None:
                return rule.code, rule.message
        return None

    def report_meter_error(self, event: MeterEvent, code: str, message: str) -> None:
        """Collect a failure."""
        self.errors.add(event, code, message)

    def summary_lag_s(self, customer: str) -> int:
        """Return the longest lag that a rule asks for."""
        return max((faults.summary_lag_s(customer) for faults in self._faults), default=0)


def _copies_of(rules: list[Rule]) -> int:
    """Return how often the faults have an event delivered to an endpoint."""
    kinds = {rule.kind for rule in rules}
    if Fault.WEBHOOK_LOSS in kinds:
        return 0
    return 2 if Fault.WEBHOOK_DUPLICATE in kinds else 1


def _invoice_of(event: Event, body: bytes) -> str | None:
    """Return the invoice whose creation an event tells."""
    if event.type != "invoice.created":
        return None
    found: str = msgspec.json.decode(body)["data"]["object"]["id"]
    return found
