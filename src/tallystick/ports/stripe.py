"""What the inside needs from Stripe, one small port per need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tallystick.domain.catalog.diff import Action

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from tallystick.domain.catalog.diff import Change, Kind
    from tallystick.domain.catalog.objects import Catalog, CatalogPrice, Product
    from tallystick.domain.catalog.state import CatalogState
    from tallystick.domain.meters import Meter
    from tallystick.domain.periods import Period
    from tallystick.domain.reports import UsageReport
    from tallystick.ports.directory import Account


class AttemptResult(StrEnum):
    """What came back from telling Stripe of a report."""

    TAKEN = "taken"
    """200: taken; Stripe counts it asynchronously."""
    KNOWN = "known"
    """Refused because an earlier attempt got through: the report is delivered."""
    UNKNOWN = "unknown"
    """Connection lost or timed out: it may have been taken. Repeat the same request."""
    FAILED = "failed"
    """5xx or 409: not taken, as far as Stripe says. Repeat under a fresh request key, because the
    old one would replay the failure."""
    SLOW_DOWN = "slow_down"
    """429: not taken; send less."""
    REFUSED = "refused"
    """A permanent error: Stripe will not count it."""
    TOO_LATE = "too_late"
    """Refused because its timestamp or its period is past what Stripe takes: late usage."""


class Attempt(NamedTuple):
    """The outcome of one request; ``code`` and ``message`` are Stripe's where it gave any."""

    result: AttemptResult
    code: str | None = None
    message: str | None = None


class Dispatch(NamedTuple):
    """One report on its way. ``request_key`` is the Idempotency-Key where it goes alone."""

    report: UsageReport
    request_key: str


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line of a Stripe invoice; the amount is in minor units."""

    description: str
    quantity: str
    amount_minor: int
    stripe_price_id: str | None
    stripe_item_id: str | None


@dataclass(frozen=True, slots=True)
class Invoice:
    """A Stripe invoice with all its lines; the total is in minor units.

    ``period_end_at`` is when the period ended whose usage it bills, in microseconds.
    """

    stripe_invoice_id: str
    stripe_customer_id: str
    stripe_subscription_id: str | None
    billing_reason: str | None
    status: str
    currency: str
    total_minor: int
    period_end_at: int
    lines: tuple[InvoiceLine, ...]


class RecordedUsage(NamedTuple):
    """Stripe's figure of a legacy item's usage records in one billing period of it.

    ``since`` is from when on, in microseconds, the records of an invoiced period are in it; None
    for the period that is running.
    """

    total: Decimal
    since: int | None = None


class UsageSink(Protocol):
    """One way to tell Stripe."""

    batch_max: int
    """How many reports one request carries."""

    def send(self, dispatches: Sequence[Dispatch]) -> list[Attempt]:
        """Tell Stripe once, of at most ``batch_max`` reports; return the attempts in their order.

        Never raises for what Stripe or the network answers.
        """
        ...


class AccountReader(Protocol):
    """Whose Stripe this is."""

    def account(self) -> Account:
        """Return the account and mode of the key.

        Raises:
            StripeUnreachable: no answer.
            StripeRefused: the key is not valid.
        """
        ...


class SummaryReader(Protocol):
    """Stripe's own totals."""

    def summarized(self, stripe_meter_id: str, stripe_customer_id: str, period: Period) -> Decimal:
        """Return Stripe's total of the meter for the customer in the period, cut at whole minutes.

        The minute that holds a boundary counts to the period that ends in it.

        Raises:
            StripeUnreachable, StripeRefused
        """
        ...

    def recorded(self, stripe_item_id: str, period: Period) -> RecordedUsage | None:
        """Return Stripe's figure of the billing period of a legacy item that holds a period.

        None where the billing period is invoiced and no invoice shows that part of it.

        Raises:
            StripeUnreachable: or Stripe does not show that period.
            StripeRefused
        """
        ...


class InvoiceReader(Protocol):
    """Stripe's half of the bill."""

    def invoices(self) -> Iterator[Invoice]:
        """Return every invoice of the account, with all lines, newest first.

        Raises:
            StripeUnreachable, StripeRefused
        """
        ...


class CatalogGateway(Protocol):
    """The catalog at Stripe. Every method raises StripeUnreachable or StripeRefused.

    Creating twice under one ``token`` (an idempotency key's part that tells runs apart) creates
    once, within Stripe's 24 hours; before that, what exists was looked up.
    """

    def read(self, catalog: Catalog, known_price_ids: Mapping[str, str]) -> CatalogState:
        """Return all meters and products, and the prices that the catalog may mean.

        ``known_price_ids`` has the ids of prices that were applied before, by lookup key.
        """
        ...

    def read_all(self) -> CatalogState:
        """Return all meters and products, and every active price that recurs."""
        ...

    def create_meter(self, meter: Meter, token: str) -> str:
        """Create the meter; return its id."""
        ...

    def create_product(self, product: Product, token: str) -> str:
        """Create the product; return its id."""
        ...

    def create_price(self, new: NewPrice, token: str) -> str:
        """Create the price, taking its lookup key from whichever has it; return its id."""
        ...

    def update(self, kind: Kind, stripe_id: str, values: Mapping[str, object]) -> None:
        """Set fields of an object; ``metadata.NAME`` is an entry of its metadata."""
        ...

    def subscriptions_on(self, stripe_price_id: str) -> int:
        """Return how many subscriptions that are not over have an item at the price."""
        ...


class NewPrice(NamedTuple):
    """A price that is to be made; ``replaces`` is the id of the version before it."""

    price: CatalogPrice
    product_id: str
    meter_id: str | None
    replaces: str | None


@dataclass(frozen=True, slots=True)
class AppliedCatalog:
    """Stripe's ids by our keys, and what had to be changed."""

    meter_ids: dict[str, str]
    product_ids: dict[str, str]
    price_ids: dict[str, str]
    changes: tuple[Change, ...]

    @property
    def created(self) -> tuple[str, ...]:
        """What had to be created, new versions included, like ``meter api_requests``."""
        made = (Action.CREATE, Action.REPLACE)
        return tuple(str(change) for change in self.changes if change.action in made)


class Rehearsal(Protocol):
    """Customers on test clocks. Every method raises StripeUnreachable or StripeRefused."""

    def create_clock(self, frozen_at: int, name: str) -> str:
        """Create a test clock that stands at the instant; return its id."""
        ...

    def create_customer(self, customer: str, test_clock_id: str) -> str:
        """Create a Stripe customer on a test clock; return its id."""
        ...

    def subscribe(self, stripe_customer_id: str, stripe_price_ids: Sequence[str]) -> str:
        """Subscribe the customer to metered prices; return the subscription's id."""
        ...

    def advance(self, test_clock_id: str, to_at: int) -> None:
        """Begin to advance a test clock."""
        ...

    def wait_until_ready(self, test_clock_id: str) -> None:
        """Wait until the clock has arrived and everything due on the way has happened."""
        ...
