"""Reading Stripe's objects into the mirror.

Whatever makes us look (an event, a sweep, a question), the object is fetched, and kept unless a
later reading is kept already. An event says which object to look at and nothing else of the
present, so neither its order, nor its age, nor its API version can put the mirror wrong.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from tallystick.billing.stripe_objects import (
    CLOSED_INVOICES,
    OVER,
    Customer,
    Invoice,
    Item,
    Items,
    Line,
    Lines,
    Price,
    Subscription,
    TestClock,
)
from tallystick.domain.instants import from_seconds
from tallystick.domain.item_history import END_OF_TIME, PriceTerms, item_segments
from tallystick.domain.json_types import prepare
from tallystick.ports.mirror import Kept, ObjectKind, ObjectReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tallystick.ports.clock import Clock
    from tallystick.ports.inbox import Inbox
    from tallystick.ports.mirror import ItemPast, Mirror, ObjectSource

PARTS_MAX = 20
"""Pages of one list inside an object: an invoice has 250 lines at most, a subscription 20 items."""


class StripeMirror:
    """Keeps the mirror true; thread-safe, and several processes may use one database.

    Every method raises StripeUnreachable or StripeRefused; what was kept until then stands.
    """

    def __init__(self, mirror: Mirror, source: ObjectSource, inbox: Inbox, clock: Clock) -> None:
        self._mirror = mirror
        self._source = source
        self._inbox = inbox
        self._clock = clock

    def refresh(self, kind: ObjectKind, stripe_id: str, told: int | None = None) -> Kept:
        """Read an object anew; one that was read since the event number ``told`` came is not.

        What depends on a test clock that is gone is read too: it is gone with it.
        """
        known = self._mirror.find(stripe_id)
        if told is not None and known is not None and known.as_of >= told:
            return Kept.SAME
        begun = self.begin()
        body = self._source.read(kind, stripe_id)
        (kept,) = self._mirror.keep([self._reading(kind, stripe_id, body, begun)])
        if body is None and kind is ObjectKind.TEST_CLOCK:
            for dependent in (ObjectKind.CUSTOMER, ObjectKind.SUBSCRIPTION, ObjectKind.INVOICE):
                for one in self._mirror.related(dependent, clock=stripe_id):
                    self.refresh(dependent, one)
        return kept

    def begin(self) -> tuple[int, int]:
        """Return what marks a reading whose request begins now: the last event, and the time."""
        return self._inbox.last_seq(), self._clock.now()

    def keep_page(
        self,
        kind: ObjectKind,
        bodies: Sequence[bytes],
        begun: tuple[int, int],
        *,
        run: int = 0,
        count: Callable[[int], None] = lambda _: None,
    ) -> list[Kept]:
        """Keep a page of a list; ``count`` is told of every further call that it takes."""
        readings = []
        for body in bodies:
            stripe_id = msgspec.json.decode(body, type=_Identified).id
            readings.append(self._reading(kind, stripe_id, body, begun, count=count))
        return self._mirror.keep(readings, run) if readings else []

    def read_customer(self, stripe_customer_id: str) -> None:
        """Read a customer, its test clock and all of its subscriptions.

        Its invoices are read too if they are needed to know periods of the past.
        """
        self.refresh(ObjectKind.CUSTOMER, stripe_customer_id)
        self.read_subscriptions(stripe_customer_id)

    def read_subscriptions(self, stripe_customer_id: str) -> None:
        """Read all of a customer's subscriptions, and its invoices if the past needs them."""
        where = {"customer": stripe_customer_id, "status": "all"}
        seen = self._read_list(ObjectKind.SUBSCRIPTION, where)
        known = self._mirror.related(ObjectKind.SUBSCRIPTION, customer=stripe_customer_id)
        for missing in set(known) - seen:
            self.refresh(ObjectKind.SUBSCRIPTION, missing)
        if self.has_gaps(stripe_customer_id):
            self._read_list(ObjectKind.INVOICE, {"customer": stripe_customer_id})

    def learn_prices(self, pasts: Iterable[ItemPast]) -> None:
        """Read the prices that items had which were never read: only those say what is usage.

        Before the pasts themselves are kept, so that whoever looks then knows what they mean.
        """
        told = {state.stripe_price_id for past in pasts for state in past.fact[1:] if state}
        for price_id in sorted(told - self._mirror.prices().keys() if told else told):
            self.refresh(ObjectKind.PRICE, price_id)

    def has_gaps(self, stripe_customer_id: str) -> bool:
        """Tell whether some time between an item's beginning and its present is unexplained."""
        starts = self._subscription_starts(stripe_customer_id)
        prices = self._mirror.prices()
        for item in self._mirror.items(stripe_customer_id):
            spans = [segment.span for segment in item_segments(item.facts)]
            state = item.facts.present
            terms = prices.get(state.stripe_price_id) if state else None
            if terms is not None and not terms.is_metered:
                continue
            begun_at = item.facts.began_at or starts.get(item.stripe_subscription_id)
            if not spans or (begun_at is not None and spans[0].start_at > begun_at):
                return True
            if any(earlier.end_at < later.start_at for earlier, later in pairwise(spans)):
                return True
        return False

    def test_clock_now(self, test_clock_id: str) -> int:
        """Read a test clock; return the instant that it shows."""
        begun = self.begin()
        body = self._source.read(ObjectKind.TEST_CLOCK, test_clock_id)
        self._mirror.keep([self._reading(ObjectKind.TEST_CLOCK, test_clock_id, body, begun)])
        if body is None:
            return self._clock.now()  # its customers are gone with it, and nothing bills them
        return from_seconds(msgspec.json.decode(body, type=TestClock).frozen_time)

    def _subscription_starts(self, stripe_customer_id: str) -> dict[str, int]:
        starts = {}
        for stripe_id in self._mirror.related(ObjectKind.SUBSCRIPTION, customer=stripe_customer_id):
            known = self._mirror.find(stripe_id)
            if known is not None and known.body is not None:
                shown = msgspec.json.decode(known.body, type=Subscription)
                starts[stripe_id] = from_seconds(shown.start_date or shown.created)
        return starts

    def _read_list(self, kind: ObjectKind, where: dict[str, str]) -> set[str]:
        """Read a whole filtered list; return the ids."""
        seen: set[str] = set()
        after = None
        while True:
            begun = self.begin()
            page = self._source.page(kind, after, where)
            self.keep_page(kind, page.bodies, begun)
            ids = [msgspec.json.decode(body, type=_Identified).id for body in page.bodies]
            seen.update(ids)
            if not page.has_more or not ids:
                return seen
            after = ids[-1]

    def _reading(
        self,
        kind: ObjectKind,
        stripe_id: str,
        body: bytes | None,
        begun: tuple[int, int],
        *,
        count: Callable[[int], None] = lambda _: None,
    ) -> ObjectReading:
        as_of, read_at = begun
        reading = ObjectReading(
            kind=kind,
            stripe_id=stripe_id,
            body=body,
            api_version=self._source.api_version,
            as_of=as_of,
            read_at=read_at,
            seen_at=read_at,
            is_open=False,
        )
        if body is None:
            return reading
        match kind:
            case ObjectKind.SUBSCRIPTION:
                return self._subscription(reading, body, count)
            case ObjectKind.INVOICE:
                return self._invoice(reading, body, count)
            case ObjectKind.CUSTOMER:
                customer = msgspec.json.decode(body, type=Customer)
                return reading._replace(customer=stripe_id, test_clock=customer.test_clock)
            case ObjectKind.PRICE:
                price = msgspec.json.decode(body, type=Price)
                return reading._replace(prices=(price.terms(),))
            case ObjectKind.TEST_CLOCK:
                status = msgspec.json.decode(body, type=TestClock).status
                return reading._replace(is_open=status != "ready", test_clock=stripe_id)
            case ObjectKind.METER | ObjectKind.PRODUCT:
                return reading

    def _subscription(
        self, reading: ObjectReading, body: bytes, count: Callable[[int], None]
    ) -> ObjectReading:
        shown = msgspec.json.decode(body, type=Subscription)
        if shown.items.has_more:
            rest = self._parts(
                "/v1/subscription_items",
                shown.items.data[-1].id,
                {"subscription": shown.id},
                count,
            )
            more = [msgspec.json.decode(part, type=Item) for part in rest]
            shown.items = Items([*shown.items.data, *more])
        terms = (item.priced() for item in shown.items.data)
        return reading._replace(
            customer=shown.customer,
            subscription=shown.id,
            test_clock=shown.test_clock,
            is_open=shown.status not in OVER,
            items=shown.present(),
            prices=tuple(price.terms() for price in terms if price is not None),
            seen_at=self._seen_at(shown.test_clock, reading.read_at),
        )

    def _invoice(
        self, reading: ObjectReading, body: bytes, count: Callable[[int], None]
    ) -> ObjectReading:
        shown = msgspec.json.decode(body, type=Invoice)
        if shown.lines.has_more:
            path = f"/v1/invoices/{shown.id}/lines"
            rest = self._parts(path, shown.lines.data[-1].id, {}, count)
            more = [msgspec.json.decode(part, type=Line) for part in rest]
            shown.lines = Lines([*shown.lines.data, *more])
        billed = [found for line in shown.lines.data if (found := line.billed())]
        return reading._replace(
            customer=shown.customer,
            subscription=shown.subscription(),
            is_open=shown.status not in CLOSED_INVOICES,
            billed=tuple(dict.fromkeys(billed)),
            prices=self._terms({usage.stripe_price_id for _, usage in billed}, count),
        )

    def _terms(self, price_ids: set[str], count: Callable[[int], None]) -> tuple[PriceTerms, ...]:
        """Return the terms of prices that were never read: only those say what is usage."""
        found = []
        for price_id in sorted(price_ids - self._mirror.prices().keys()):
            count(1)
            body = self._source.read(ObjectKind.PRICE, price_id)
            if body is not None:
                found.append(msgspec.json.decode(body, type=Price).terms())
        return tuple(found)

    def _parts(
        self, path: str, after: str, where: dict[str, str], count: Callable[[int], None]
    ) -> Iterator[bytes]:
        for _ in range(PARTS_MAX):
            count(1)
            page = self._source.parts(path, after, where)
            yield from page.bodies
            if not page.has_more or not page.bodies:
                return
            after = msgspec.json.decode(page.bodies[-1], type=_Identified).id

    def _seen_at(self, test_clock: str | None, read_at: int) -> int:
        """Return when a reading was on its customer's clock, as far as that clock is known."""
        if test_clock is None:
            return read_at
        known = self._mirror.find(test_clock)
        if known is None or known.body is None:
            return END_OF_TIME
        return from_seconds(msgspec.json.decode(known.body, type=TestClock).frozen_time)


class _Identified(msgspec.Struct):
    id: str


prepare(_Identified)
