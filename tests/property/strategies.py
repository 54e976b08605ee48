"""Strategies for everything that is rated, shared by the property tests.

Amounts are drawn where rounding can go wrong (sub-cent parts, halves, tier boundaries and what lies
beside them) rather than evenly over large ranges.
"""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from tallystick.domain.rating.credits import CreditCategory, CreditGrant
from tallystick.domain.rating.discounts import Discount
from tallystick.domain.rating.prices import (
    BillingScheme,
    PackageRound,
    Price,
    Tier,
    TiersMode,
    TransformQuantity,
    UsageType,
)
from tallystick.domain.rating.proration import PeriodShare
from tallystick.domain.rating.tax import TaxRate

CURRENCIES = st.sampled_from(["usd", "jpy", "kwd", "eur", "chf"])


def decimals(whole_max: int, places_max: int) -> st.SearchStrategy[Decimal]:
    """Decimals from 0 on with few, many or no places."""
    return st.integers(0, places_max).flatmap(
        lambda places: st.integers(0, whole_max * 10**places).map(
            lambda scaled: Decimal(scaled).scaleb(-places)
        )
    )


UNIT_AMOUNTS = st.one_of(
    st.sampled_from(
        [Decimal(0), Decimal("0.5"), Decimal("0.05"), Decimal("1E-12"), Decimal("2.5")]
    ),
    decimals(2_000, 12),
)
FLAT_AMOUNTS = st.one_of(
    st.none(), st.integers(0, 10_000).map(Decimal), st.just(Decimal("0.5")), decimals(500, 3)
)
QUANTITIES = st.one_of(st.integers(0, 30).map(Decimal), decimals(100_000, 6))
INTEGERS = st.integers(0, 5_000).map(Decimal)
AMOUNTS_MINOR = st.integers(-5_000, 100_000)
PERCENTAGES = st.integers(0, 10_000).map(lambda hundredths: Decimal(hundredths).scaleb(-2))


@st.composite
def tier_tables(draw: st.DrawFn) -> tuple[Tier, ...]:
    """Tables of one to six tiers, bounds close together so that quantities cross them."""
    bounds = sorted(draw(st.sets(st.integers(1, 60) | st.integers(61, 90_000), max_size=5)))
    ends: list[int | None] = [*bounds, None]
    return tuple(Tier(end, draw(UNIT_AMOUNTS), draw(FLAT_AMOUNTS)) for end in ends)


@st.composite
def tiered_prices(
    draw: st.DrawFn, mode: TiersMode, usage_type: UsageType = UsageType.METERED
) -> Price:
    """Graduated or volume prices."""
    return Price(
        currency=draw(CURRENCIES),
        billing_scheme=BillingScheme.TIERED,
        tiers_mode=mode,
        tiers=draw(tier_tables()),
        usage_type=usage_type,
        interval="month",
        product_name="API calls",
    )


@st.composite
def per_unit_prices(draw: st.DrawFn, usage_type: UsageType = UsageType.METERED) -> Price:
    """Prices of one unit amount."""
    return Price(currency=draw(CURRENCIES), unit_amount=draw(UNIT_AMOUNTS), usage_type=usage_type)


@st.composite
def package_prices(draw: st.DrawFn) -> Price:
    """Prices of packages, rounded up or down."""
    return Price(
        currency=draw(CURRENCIES),
        unit_amount=draw(UNIT_AMOUNTS),
        transform_quantity=TransformQuantity(
            draw(st.integers(1, 500)), draw(st.sampled_from(PackageRound))
        ),
    )


def graduated_prices() -> st.SearchStrategy[Price]:
    """Graduated metered prices."""
    return tiered_prices(TiersMode.GRADUATED)


def volume_prices() -> st.SearchStrategy[Price]:
    """Volume metered prices."""
    return tiered_prices(TiersMode.VOLUME)


def metered_prices() -> st.SearchStrategy[Price]:
    """Every kind of metered price."""
    return st.one_of(per_unit_prices(), package_prices(), graduated_prices(), volume_prices())


def licensed_prices() -> st.SearchStrategy[Price]:
    """Licensed prices, of one amount or graduated."""
    return st.one_of(
        per_unit_prices(UsageType.LICENSED),
        tiered_prices(TiersMode.GRADUATED, UsageType.LICENSED),
    )


@st.composite
def prices_at_edges(draw: st.DrawFn, prices: st.SearchStrategy[Price]) -> tuple[Price, Decimal]:
    """A price, and a quantity that often lies on a tier's boundary or right beside it."""
    price = draw(prices)
    edges = [end + step for end in price.tier_ends if end is not None for step in (-1, 0, 1)]
    return price, draw(st.sampled_from(edges) | QUANTITIES if edges else QUANTITIES)


@st.composite
def splits(draw: st.DrawFn) -> list[Decimal]:
    """The quantities of a period in the pieces in which they arrived."""
    return draw(st.lists(QUANTITIES, min_size=1, max_size=8))


DISCOUNTS = st.one_of(
    st.integers(1, 50_000).map(lambda amount: Discount(amount_off=amount)),
    st.integers(1, 10_000).map(
        lambda hundredths: Discount(percent_off=Decimal(hundredths).scaleb(-2))
    ),
)
TAX_RATES = st.builds(TaxRate, PERCENTAGES, st.booleans())


@st.composite
def period_shares(draw: st.DrawFn) -> PeriodShare:
    """What remains of periods of a second up to a leap year."""
    period = draw(st.sampled_from([1, 2, 3, 2_592_000]) | st.integers(1, 31_622_400))
    return PeriodShare(draw(st.integers(0, period)), period)


CREDIT_GRANTS = st.lists(
    st.builds(
        CreditGrant,
        key=st.uuids().map(str),
        left_minor=st.integers(0, 5_000),
        currency=st.sampled_from(["usd", "usd", "usd", "jpy"]),
        priority=st.sampled_from([0, 50, 50, 100]),
        category=st.sampled_from(CreditCategory),
        effective_at=st.integers(0, 20),
        expires_at=st.none() | st.integers(5, 30),
        price_keys=st.none() | st.frozensets(st.sampled_from(["a", "b", "c"]), max_size=2),
    ),
    max_size=6,
    unique_by=lambda grant: grant.key,
)
