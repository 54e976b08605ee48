"""Who is who at Stripe: customers, subscription items and periods, catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.catalog.objects import Catalog
    from tallystick.domain.meters import MeterSet
    from tallystick.domain.rating.prices import Price
    from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
    from tallystick.domain.usage_records import RecordAggregation


class Account(NamedTuple):
    """The one Stripe account, in one mode, that a database belongs to."""

    stripe_account_id: str
    livemode: bool


class CustomerDirectory(Protocol):
    """Your customers, Stripe's, and what those are subscribed to."""

    def link(self, links: Sequence[CustomerLink], now: int) -> int:
        """Join customers to Stripe customers and mark their usage due; return how many are new.

        All or nothing. A link that exists already is left as it is.

        Raises:
            AlreadyLinked: a customer or Stripe customer of these is linked to another one.
        """
        ...

    def find(self, customer: str) -> CustomerLink | None:
        """Return the customer's link."""
        ...

    def links(self) -> list[CustomerLink]:
        """Return every link, in the order of the customers."""
        ...

    def items(self, stripe_customer_id: str) -> tuple[list[SubscriptionItem], int | None]:
        """Return the metered items, one for each price and period that each had, oldest first.

        The second is when all of the customer's subscriptions were read last for themselves.
        """
        ...


class CatalogStore(Protocol):
    """The catalog as it was last applied, and what its objects are called at Stripe.

    Every version of a price that was ever applied stays known: subscriptions keep the old ones.
    """

    def meters(self) -> MeterSet:
        """Return the meters in force, and which sources derive ids."""
        ...

    def keep(
        self,
        catalog: Catalog,
        meter_ids: dict[str, str],
        price_ids: dict[str, str],
        now: int,
        *,
        retired: Sequence[str] = (),
    ) -> None:
        """Keep a catalog that Stripe has now; rollups of new meters are made from stored events.

        A source that an earlier catalog declared and this one leaves out stays as it was.
        ``meter_ids`` and ``price_ids`` map keys to Stripe's ids. ``retired`` are keys of prices
        that are sold no more.
        """
        ...

    def applied(self) -> Catalog | None:
        """Return the catalog that was kept last."""
        ...

    def meter_key(self, stripe_meter_id: str) -> str | None:
        """Return which meter of ours reports to this Stripe meter."""
        ...

    def stripe_meter_ids(self) -> dict[str, str]:
        """Return Stripe's meter id by our meter key."""
        ...

    def price(self, stripe_price_id: str) -> Price | None:
        """Return our price behind one of Stripe's, also a version that was replaced."""
        ...

    def current_prices(self) -> dict[str, str]:
        """Return Stripe's price id by lookup key, newest versions only."""
        ...


class RecordPrices(Protocol):
    """Legacy prices, which are billed from usage records."""

    def record_aggregations(self, meter_key: str) -> dict[str, RecordAggregation]:
        """Return how Stripe adds up usage records, by the legacy prices that bill the meter."""
        ...


class Installation(Protocol):
    """What belongs to the database as a whole."""

    def account(self) -> Account | None:
        """Return the Stripe account that the database belongs to, once it is known."""
        ...

    def adopt(self, account: Account) -> None:
        """Record the account, once and for all.

        Raises:
            WrongAccount: it belongs to another account or mode.
        """
        ...

    def schema_version(self) -> int:
        """Return the number of the newest migration applied."""
        ...
