"""Reading what a price charges: amounts, tiers, packages and recurrence, with Stripe's refusals."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.state.records import Amounts, Recurring, Tier
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.parameters import read_decimal

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.versions import Version

INTERVAL_COUNTS_MAX = {"day": 1095, "week": 156, "month": 36, "year": 3}
"""DOC:api/prices/create: "maximum of three years interval"."""


def _param(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def read_amounts(params: dict[str, Any], path: str) -> Amounts:
    """Return the amounts of a price or of one of its currency options.

    Raises:
        StripeError: 400, contradicting or missing amounts.
    """
    tax_behavior = params.get("tax_behavior", "unspecified")
    scheme = params.get("billing_scheme", "tiered" if params.get("tiers") else "per_unit")
    if scheme == "tiered":
        return Amounts(tiers=_read_tiers(params, path), tax_behavior=tax_behavior)
    if params.get("tiers") or params.get("tiers_mode"):
        raise refused(
            "`tiers` and `tiers_mode` can only be used with `billing_scheme=tiered`.",
            _param(path, "tiers" if params.get("tiers") else "tiers_mode"),
        )
    amount = _amount(params, path, "unit_amount")
    if amount is None:
        raise refused(
            "You must specify either `unit_amount`, `unit_amount_decimal` or `tiers`.",
            _param(path, "unit_amount"),
            "parameter_missing",
        )
    return Amounts(unit_amount=amount, tax_behavior=tax_behavior)


def _amount(given: dict[str, Any], path: str, name: str) -> Decimal | None:
    """Return ``name`` or ``name_decimal``, both in minor units and not negative."""
    whole, exact_amount = given.get(name), given.get(f"{name}_decimal")
    if whole is not None and exact_amount is not None:
        raise refused(
            f"You may only specify one of these parameters: {name}, {name}_decimal.",
            _param(path, name),
        )
    value = whole if exact_amount is None else exact_amount
    if value is None:
        return None
    param = _param(path, name if exact_amount is None else f"{name}_decimal")
    number = read_decimal(value, param) if isinstance(value, str) else Decimal(value)
    if number < 0:
        raise refused("Invalid non-negative integer", param, "parameter_invalid_integer")
    return number


def _read_tiers(params: dict[str, Any], path: str) -> list[Tier]:
    given = params.get("tiers")
    if not given:
        raise refused(
            "`tiers` must be specified with `billing_scheme=tiered`.", _param(path, "tiers")
        )
    if not path and params.get("tiers_mode") is None:
        raise refused("`tiers_mode` must be specified with `billing_scheme=tiered`.", "tiers_mode")
    for name in ("unit_amount", "unit_amount_decimal"):
        if params.get(name) is not None:
            raise refused(f"`{name}` cannot be used with `billing_scheme=tiered`.", name)
    tiers = [_read_tier(tier, f"{_param(path, 'tiers')}[{n}]") for n, tier in enumerate(given)]
    below = 0
    for number, tier in enumerate(tiers):
        is_last = number == len(tiers) - 1
        if is_last != (tier.up_to is None):
            raise refused(
                "The last tier, and only the last tier, must have `up_to` set to `inf`.",
                f"{_param(path, 'tiers')}[{number}][up_to]",
            )
        if tier.up_to is not None and tier.up_to <= below:
            raise refused(
                "Each tier's `up_to` must be greater than the one before.",
                f"{_param(path, 'tiers')}[{number}][up_to]",
            )
        below = tier.up_to or 0
    return tiers


def _read_tier(given: dict[str, Any], path: str) -> Tier:
    tier = Tier(
        up_to=None if given["up_to"] == "inf" else int(given["up_to"]),
        unit_amount=_amount(given, path, "unit_amount"),
        flat_amount=_amount(given, path, "flat_amount"),
    )
    if tier.unit_amount is None and tier.flat_amount is None:
        raise refused("A tier needs `unit_amount` or `flat_amount`.", path)
    return tier


def read_transform(given: dict[str, Any] | None, params: dict[str, Any]) -> tuple[int | None, str]:
    """Return (divide_by, round).

    Raises:
        StripeError: 400, with tiers (DOC:quantity-transformation: not allowed) or below 1.
    """
    if given is None:
        return None, "up"
    if params.get("billing_scheme") == "tiered" or params.get("tiers"):
        raise refused(
            "`transform_quantity` cannot be used with `billing_scheme=tiered`.",
            "transform_quantity",
        )
    if given["divide_by"] < 1:
        raise refused(
            "This value must be greater than or equal to 1.",
            "transform_quantity[divide_by]",
            "parameter_invalid_integer",
        )
    return given["divide_by"], given["round"]


def read_recurring(account: Account, given: dict[str, Any], version: Version) -> Recurring:
    """Return how a price recurs.

    Raises:
        StripeError: 400, an unknown or inactive meter, a metered price without a meter where
            usage records no longer exist (DOC:changelog/basil/2025-03-31).
    """
    if given.get("aggregate_usage") and not version.has_usage_records:
        raise refused(
            "Received unknown parameter: recurring[aggregate_usage]",
            "recurring[aggregate_usage]",
            "parameter_unknown",
        )
    recurring = Recurring(
        interval=given["interval"],
        interval_count=given.get("interval_count", 1),
        usage_type=given.get("usage_type", "licensed"),
        meter=given.get("meter"),
        aggregate_usage=given.get("aggregate_usage"),
        trial_period_days=given.get("trial_period_days"),
    )
    if not 1 <= recurring.interval_count <= INTERVAL_COUNTS_MAX[recurring.interval]:
        raise refused(
            "The interval must be between one day and three years.", "recurring[interval_count]"
        )
    if not recurring.is_metered:
        if recurring.meter or recurring.aggregate_usage:
            raise refused(
                "`meter` and `aggregate_usage` can only be set with `usage_type=metered`.",
                "recurring[usage_type]",
            )
        return recurring
    if recurring.meter is None:
        if not version.has_usage_records:
            raise refused(
                "Metered prices must be backed by a meter: pass `recurring[meter]`.",
                "recurring[meter]",
            )
        recurring.aggregate_usage = recurring.aggregate_usage or "sum"
        return recurring
    if recurring.aggregate_usage:
        raise refused(
            "`aggregate_usage` cannot be set together with `meter`: the meter aggregates.",
            "recurring[aggregate_usage]",
        )
    meter = account.meters.get(recurring.meter)
    if meter is None:
        raise missing("billing meter", recurring.meter, "recurring[meter]", status=400)
    if not meter.is_active:
        raise refused("This meter is inactive and cannot be used in a price.", "recurring[meter]")
    return recurring
