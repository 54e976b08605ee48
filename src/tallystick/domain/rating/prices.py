"""Prices as Stripe knows them, checked so that no price exists that cannot be rated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

from tallystick.domain.quantity import ZERO, exact
from tallystick.domain.rating.descriptions import PriceWording
from tallystick.domain.rating.price_limits import (
    AMOUNT_LIMIT,
    PriceError,
    check_amount,
    check_currency,
    check_recurrence,
)
from tallystick.domain.rating.stripe_fields import (
    read_amount,
    read_choice,
    read_integer,
    read_object,
    read_text,
    read_whole,
)

__all__ = [  # PriceError and check_amount live with the limits, and belong to a price
    "BillingScheme",
    "PackageRound",
    "Price",
    "PriceError",
    "Tier",
    "TiersMode",
    "TransformQuantity",
    "UsageType",
    "check_amount",
    "packages_of",
    "price_from_stripe",
]

INF = "inf"

TIERS_MAX = 1000
"""Rows of a tier table. Stripe states no limit; this one only stops nonsense."""


class BillingScheme(StrEnum):
    """Whether one unit amount holds for all units, or a table of tiers."""

    PER_UNIT = "per_unit"
    TIERED = "tiered"


class TiersMode(StrEnum):
    """Whether each unit is charged in its own tier, or all in the tier that is reached."""

    GRADUATED = "graduated"
    VOLUME = "volume"


class UsageType(StrEnum):
    """Whether the quantity is measured, or set beforehand."""

    METERED = "metered"
    LICENSED = "licensed"


class PackageRound(StrEnum):
    """What becomes of a package that was only begun."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Tier:
    """A row of a tier table; ``up_to`` is inclusive and None means "inf".

    ``flat_amount`` None is no flat line at all, 0 is a flat line of nothing: Stripe's invoices tell
    the two apart. Amounts are in minor units.
    """

    up_to: int | None
    unit_amount: Decimal = ZERO
    flat_amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class TransformQuantity:
    """Package pricing: the quantity is divided before it is charged."""

    divide_by: int
    round: PackageRound = PackageRound.UP


def packages_of(quantity: Decimal, transform: TransformQuantity) -> Decimal:
    """Return how many packages a quantity of 0 or more counts as.

    Stripe divides and rounds to a whole number; the line keeps the raw quantity.
    """
    with exact():
        whole, rest = divmod(quantity, transform.divide_by)
        return whole + 1 if rest and transform.round is PackageRound.UP else whole


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one unit costs. Amounts are in minor units of ``currency`` (lower case).

    ``key`` is the lookup key, else Stripe's id. ``product_name`` and ``unit_label`` appear in the
    descriptions of invoice lines. ``interval`` None: the price says nothing about recurrence.

    Raises:
        PriceError: the fields contradict each other or break one of Stripe's limits.
    """

    currency: str
    billing_scheme: BillingScheme = BillingScheme.PER_UNIT
    unit_amount: Decimal | None = None
    tiers_mode: TiersMode | None = None
    tiers: tuple[Tier, ...] = ()
    transform_quantity: TransformQuantity | None = None
    usage_type: UsageType = UsageType.METERED
    interval: str | None = None
    interval_count: int = 1
    key: str | None = None
    product_name: str = "Usage"
    unit_label: str | None = None
    tax_behavior: str = "unspecified"

    def __post_init__(self) -> None:
        check_currency(self.currency)
        check_recurrence(self.interval, self.interval_count)
        _check_transform(self.transform_quantity)
        if self.billing_scheme is BillingScheme.TIERED:
            _check_tiered(self)
        else:
            _check_per_unit(self)

    @cached_property
    def wording(self) -> PriceWording:
        """The parts of the line descriptions that do not depend on the quantity."""
        return PriceWording.of(
            currency=self.currency,
            product_name=self.product_name,
            unit_label=self.unit_label,
            recurrence=(self.interval, self.interval_count),
            divide_by=self.transform_quantity.divide_by if self.transform_quantity else None,
        )

    @cached_property
    def unit_wordings(self) -> tuple[str, ...]:
        """What follows the quantity in a unit line: one for a per-unit price, else one a tier."""
        if self.unit_amount is not None:
            return (self.wording.unit(self.unit_amount, None),)
        return tuple(
            self.wording.unit(tier.unit_amount, number) for number, tier in enumerate(self.tiers, 1)
        )

    @cached_property
    def flat_wordings(self) -> tuple[str, ...]:
        """The description of each tier's flat line; empty where the tier has none."""
        return tuple(
            "" if tier.flat_amount is None else self.wording.flat(tier.flat_amount, number)
            for number, tier in enumerate(self.tiers, 1)
        )

    @cached_property
    def tier_ends(self) -> tuple[Decimal | None, ...]:
        """The last quantity of each tier, as a decimal; None after the last."""
        return tuple(None if tier.up_to is None else Decimal(tier.up_to) for tier in self.tiers)

    @cached_property
    def tier_starts(self) -> tuple[Decimal, ...]:
        """The quantity above which each tier is entered."""
        return (ZERO, *(end for end in self.tier_ends if end is not None))


def price_from_stripe(mapping: Mapping[str, object]) -> Price:
    """Return the price that Stripe's JSON describes, in the shape of a request or of a response.

    Fields that do not bear on amounts are ignored. A float is refused: it is not the number that
    was written down.

    Raises:
        PriceError: the first thing wrong with it.
    """
    if not isinstance(mapping, Mapping):
        raise PriceError("price_not_an_object", "A price must be an object with named fields.")
    recurring = read_object(mapping, "recurring", "recurring") or {}
    return Price(
        currency=_currency(mapping),
        billing_scheme=read_choice(mapping, "billing_scheme", BillingScheme)
        or BillingScheme.PER_UNIT,
        unit_amount=read_amount(mapping, "unit_amount", ""),
        tiers_mode=read_choice(mapping, "tiers_mode", TiersMode),
        tiers=_tiers(mapping),
        transform_quantity=_transform(mapping),
        usage_type=_usage_type(mapping, recurring),
        interval=read_text(recurring, "interval", "recurring[interval]"),
        interval_count=read_integer(recurring, "interval_count", "recurring[interval_count]", 1),
        key=read_text(mapping, "lookup_key", "lookup_key") or read_text(mapping, "id", "id"),
        product_name=_product_name(mapping),
        unit_label=_product_field(mapping, "unit_label"),
        tax_behavior=read_text(mapping, "tax_behavior", "tax_behavior") or "unspecified",
    )


def _currency(mapping: Mapping[str, object]) -> str:
    currency = read_text(mapping, "currency", "currency")
    if not currency:
        raise PriceError("parameter_missing", "A price needs a currency.", "currency")
    return currency.lower()  # Stripe takes USD and answers usd


def _usage_type(mapping: Mapping[str, object], recurring: Mapping[str, object]) -> UsageType:
    """Stripe's default is licensed; a price with a meter, or with no recurrence at all, is metered.

    (The latter is how a price is written down for rating alone.)
    """
    stated = read_choice(
        recurring, "usage_type", UsageType, "recurring[usage_type]"
    ) or read_choice(mapping, "usage_type", UsageType)
    if stated is not None:
        return stated
    return UsageType.LICENSED if recurring and not recurring.get("meter") else UsageType.METERED


def _product_name(mapping: Mapping[str, object]) -> str:
    return (
        _product_field(mapping, "name")
        or read_text(mapping, "nickname", "nickname")
        or read_text(mapping, "lookup_key", "lookup_key")
        or "Usage"
    )


def _product_field(mapping: Mapping[str, object], name: str) -> str | None:
    """Read from ``product_data`` of a request or from an expanded ``product`` of a response."""
    for holder in ("product_data", "product"):
        product = mapping.get(holder)
        if isinstance(product, Mapping):
            found = read_text(product, name, f"{holder}[{name}]")
            if found:
                return found
    return None


def _tiers(mapping: Mapping[str, object]) -> tuple[Tier, ...]:
    rows = mapping.get("tiers")
    if rows is None:
        return ()
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise PriceError("tiers_invalid", "tiers must be a list.", "tiers")
    if len(rows) > TIERS_MAX:
        raise PriceError("tiers_too_many", f"A table has at most {TIERS_MAX} tiers.", "tiers")
    return tuple(_tier(row, f"tiers[{index}]") for index, row in enumerate(rows))


def _tier(row: object, param: str) -> Tier:
    if not isinstance(row, Mapping):
        raise PriceError("tiers_invalid", "A tier must be an object.", param)
    unit_amount = read_amount(row, "unit_amount", param)
    flat_amount = read_amount(row, "flat_amount", param)
    if unit_amount is None and flat_amount is None:
        raise PriceError(
            "parameter_missing",
            "A tier needs a unit_amount or a flat_amount.",
            f"{param}[unit_amount]",
        )
    return Tier(_up_to(row, f"{param}[up_to]"), unit_amount or ZERO, flat_amount)


def _up_to(row: Mapping[str, object], param: str) -> int | None:
    if "up_to" not in row:
        raise PriceError("parameter_missing", "A tier needs up_to: an integer or inf.", param)
    value = row["up_to"]
    if value is None or value == INF:
        return None
    return read_whole(value, param, "tier_up_to_invalid")


def _transform(mapping: Mapping[str, object]) -> TransformQuantity | None:
    given = read_object(mapping, "transform_quantity", "transform_quantity")
    if given is None:
        return None
    if given.get("divide_by") is None:
        raise PriceError(
            "parameter_missing",
            "transform_quantity needs divide_by.",
            "transform_quantity[divide_by]",
        )
    rounded = read_choice(given, "round", PackageRound, "transform_quantity[round]")
    if rounded is None:
        raise PriceError(
            "parameter_missing",
            "transform_quantity needs round: up or down.",
            "transform_quantity[round]",
        )
    divide_by = read_whole(
        given["divide_by"], "transform_quantity[divide_by]", "transform_quantity_invalid"
    )
    return TransformQuantity(divide_by, rounded)


def _check_transform(transform: TransformQuantity | None) -> None:
    if transform is not None and not 1 <= transform.divide_by < AMOUNT_LIMIT:
        raise PriceError(
            "transform_quantity_invalid",
            "divide_by must be a positive integer.",
            "transform_quantity[divide_by]",
        )


def _check_per_unit(price: Price) -> None:
    if price.tiers:
        raise PriceError("tiers_not_allowed", "tiers need billing_scheme=tiered.", "tiers")
    if price.tiers_mode is not None:
        raise PriceError(
            "tiers_not_allowed", "tiers_mode needs billing_scheme=tiered.", "tiers_mode"
        )
    if price.unit_amount is None:
        raise PriceError(
            "parameter_missing",
            "A per_unit price needs unit_amount or unit_amount_decimal.",
            "unit_amount",
        )
    check_amount(price.unit_amount, "unit_amount")


def _check_tiered(price: Price) -> None:
    if price.transform_quantity is not None:
        raise PriceError(
            "transform_quantity_with_tiers",
            "transform_quantity cannot be combined with tiers.",
            "transform_quantity",
        )
    if price.unit_amount is not None:
        raise PriceError(
            "unit_amount_not_allowed",
            "A tiered price has its amounts in its tiers, not in unit_amount.",
            "unit_amount",
        )
    if price.tiers_mode is None:
        raise PriceError(
            "parameter_missing",
            "A tiered price needs tiers_mode: graduated or volume.",
            "tiers_mode",
        )
    if not price.tiers:
        raise PriceError("parameter_missing", "A tiered price needs at least one tier.", "tiers")
    _check_tiers(price.tiers)


def _check_tiers(tiers: tuple[Tier, ...]) -> None:
    """A table has only upper ends, so rows that ascend leave neither gap nor overlap."""
    for index, tier in enumerate(tiers):
        check_amount(tier.unit_amount, f"tiers[{index}][unit_amount]")
        if tier.flat_amount is not None:
            check_amount(tier.flat_amount, f"tiers[{index}][flat_amount]")
        if tier.up_to is not None and not 1 <= tier.up_to < AMOUNT_LIMIT:
            raise PriceError(
                "tier_up_to_invalid",
                "up_to must be a positive integer or inf.",
                f"tiers[{index}][up_to]",
            )
    if tiers[-1].up_to is not None:
        raise PriceError(
            "tiers_not_ending_in_inf",
            "The last tier must have up_to inf.",
            f"tiers[{len(tiers) - 1}][up_to]",
        )
    for index, (lower, upper) in enumerate(pairwise(tiers)):
        if lower.up_to is None:
            raise PriceError(
                "tier_inf_not_last",
                "Only the last tier can have up_to inf.",
                f"tiers[{index}][up_to]",
            )
        if upper.up_to is not None and upper.up_to <= lower.up_to:
            raise PriceError(
                "tiers_not_ascending",
                f"up_to must ascend: {upper.up_to} comes after {lower.up_to}.",
                f"tiers[{index + 1}][up_to]",
            )
