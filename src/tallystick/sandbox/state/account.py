"""One account: everything that a secret key can see, and nothing of any other key."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

from tallystick.sandbox.state.collection import Collection
from tallystick.sandbox.state.ids import IdSource, token
from tallystick.sandbox.state.outlets import Outlets
from tallystick.sandbox.state.records import ScheduledAction

if TYPE_CHECKING:
    import asyncio

    from tallystick.sandbox.settings import Settings
    from tallystick.sandbox.state import billing_records as billing
    from tallystick.sandbox.state import records
    from tallystick.sandbox.wallclock import Clock

REAL_TIME = ""
"""Name of the timeline of objects that are on no test clock."""


class Timeline:
    """What falls due on one clock, in order."""

    def __init__(self) -> None:
        self.heap: list[ScheduledAction] = []
        self._order = 0

    def schedule(self, due_at: int, kind: str, target: str) -> None:
        """Remember that ``kind`` falls due for an object; a stale action is skipped when due."""
        self._order += 1
        heapq.heappush(self.heap, ScheduledAction(due_at, self._order, kind, target))

    def pop_due(self, until: int) -> ScheduledAction | None:
        """Return the next action that is due by then, or None."""
        if self.heap and self.heap[0].due_at <= until:
            return heapq.heappop(self.heap)
        return None

    def restore(self, actions: list[ScheduledAction]) -> None:
        """Take over saved actions."""
        self.heap = list(actions)
        heapq.heapify(self.heap)
        self._order = max((action.order for action in actions), default=0)


class Account:
    """The objects of one ``sk_test_`` key."""

    def __init__(self, key: str, settings: Settings, clock: Clock) -> None:
        self.key = key
        self.settings = settings
        self._clock = clock
        self.id = f"acct_{token(f'{settings.seed}/{key}', 16)}"
        self.ids = IdSource(f"{settings.seed}/{key}")
        self.created = int(clock.now())
        self.customers: Collection[records.Customer] = Collection("test_clock")
        self.products: Collection[records.Product] = Collection()
        self.prices: Collection[records.Price] = Collection("product")
        self.meters: Collection[records.Meter] = Collection()
        self.test_clocks: Collection[records.TestClock] = Collection()
        self.tax_rates: Collection[records.TaxRate] = Collection()
        self.payment_methods: Collection[records.PaymentMethod] = Collection()
        self.subscriptions: Collection[billing.Subscription] = Collection("customer", "test_clock")
        self.invoices: Collection[billing.Invoice] = Collection("customer", "subscription")
        self.invoice_items: Collection[billing.InvoiceItem] = Collection("customer")
        self.payments: Collection[billing.Payment] = Collection("invoice", "customer")
        self.webhook_endpoints: Collection[records.WebhookEndpoint] = Collection()
        self.events: Collection[records.Event] = Collection("type")
        self.timelines: dict[str, Timeline] = {REAL_TIME: Timeline()}
        self.deleted: dict[str, str] = {}
        self.meter_by_event_name: dict[str, str] = {}
        self.price_by_lookup_key: dict[str, str] = {}
        self.payment_by_intent: dict[str, str] = {}
        self.payment_by_charge: dict[str, str] = {}
        self.item_owner: dict[str, str] = {}
        self.invoice_by_line: dict[str, str] = {}
        self.usage: dict[tuple[str, str], list[records.MeterEvent]] = {}
        self.usage_by_identifier: dict[str, records.MeterEvent] = {}
        self.usage_pending: deque[records.MeterEvent] = deque()
        self.usage_records: dict[str, list[records.UsageRecord]] = {}
        self.sessions: dict[str, float] = {}
        self.request_id: str | None = None
        self.request_idempotency_key: str | None = None
        self.outlets = Outlets()
        self._tasks: set[asyncio.Future[None]] = set()

    def real_now(self) -> float:
        """Return real seconds since the epoch."""
        return self._clock.now()

    def now(self, test_clock: str | None) -> int:
        """Return the time of an object: its test clock's, or real time."""
        if test_clock is not None:
            clock = self.test_clocks.get(test_clock)
            if clock is not None:
                return clock.frozen_time
        return int(self._clock.now())

    def customer_now(self, customer: str) -> int:
        """Return the time of a customer, real time when there is no such customer."""
        found = self.customers.get(customer)
        return self.now(found.test_clock if found else None)

    def keep_task(self, task: asyncio.Future[None]) -> None:
        """Hold on to work that goes on after its request was answered."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def publish(self, event: records.Event) -> None:
        """Keep an event and hand it to whoever delivers webhooks."""
        self.events.add(event)
        self.outlets.publish(event)

    def timeline(self, test_clock: str | None) -> Timeline:
        """Return the timeline of a clock."""
        return self.timelines.setdefault(test_clock or REAL_TIME, Timeline())
