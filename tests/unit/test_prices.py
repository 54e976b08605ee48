"""Prices in Stripe's shapes: what is read, and what is refused with which code and field."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tallystick.domain.rating.prices import (
    BillingScheme,
    PackageRound,
    Price,
    PriceError,
    Tier,
    TiersMode,
    TransformQuantity,
    UsageType,
    price_from_stripe,
)

PER_UNIT: dict[str, Any] = {"currency": "usd", "unit_amount": 100}
TIERED: dict[str, Any] = {
    "currency": "usd",
    "billing_scheme": "tiered",
    "tiers_mode": "graduated",
    "tiers": [{"up_to": 10, "unit_amount": 5}, {"up_to": "inf", "unit_amount": 3}],
}


def tiered(*tiers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return TIERED | {"tiers": list(tiers)} | fields


def test_request_form_is_read() -> None:
    price = price_from_stripe(
        {
            "currency": "USD",
            "lookup_key": "api_requests_monthly",
            "billing_scheme": "tiered",
            "tiers_mode": "volume",
            "tiers": [
                {"up_to": "100", "unit_amount": "7", "flat_amount": 0},
                {"up_to": "inf", "unit_amount_decimal": "0.25", "flat_amount_decimal": "12.5"},
            ],
            "recurring": {"interval": "month", "interval_count": "3", "usage_type": "metered"},
            "product_data": {"name": "API requests", "unit_label": "request"},
            "tax_behavior": "exclusive",
        }
    )
    assert price == Price(
        currency="usd",
        billing_scheme=BillingScheme.TIERED,
        tiers_mode=TiersMode.VOLUME,
        tiers=(
            Tier(100, Decimal(7), Decimal(0)),
            Tier(None, Decimal("0.25"), Decimal("12.5")),
        ),
        interval="month",
        interval_count=3,
        key="api_requests_monthly",
        product_name="API requests",
        unit_label="request",
        tax_behavior="exclusive",
    )


def test_response_form_is_read() -> None:
    price = price_from_stripe(
        {
            "id": "price_1",
            "object": "price",
            "active": True,
            "billing_scheme": "tiered",
            "created": 1700000000,
            "currency": "gbp",
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": None,
            "metadata": {"anything": "at all"},
            "nickname": None,
            "product": {"id": "prod_1", "name": "Storage", "unit_label": None},
            "recurring": {
                "interval": "month",
                "interval_count": 1,
                "meter": "mtr_1",
                "trial_period_days": None,
                "usage_type": "metered",
            },
            "tax_behavior": "unspecified",
            "tiers": [
                {
                    "flat_amount": None,
                    "flat_amount_decimal": None,
                    "unit_amount": 20,
                    "unit_amount_decimal": "20",
                    "up_to": 1000,
                },
                {
                    "flat_amount": None,
                    "flat_amount_decimal": "0.5",
                    "unit_amount": None,
                    "unit_amount_decimal": "0.2",
                    "up_to": None,
                },
            ],
            "tiers_mode": "graduated",
            "transform_quantity": None,
            "type": "recurring",
            "unit_amount": None,
            "unit_amount_decimal": None,
        }
    )
    assert price.key == "price_1"
    assert price.product_name == "Storage"
    assert price.tiers == (
        Tier(1000, Decimal(20)),
        Tier(None, Decimal("0.2"), Decimal("0.5")),
    )


def test_packages_are_read() -> None:
    price = price_from_stripe(PER_UNIT | {"transform_quantity": {"divide_by": 60, "round": "down"}})
    assert TransformQuantity(60, PackageRound.DOWN) == price.transform_quantity


def test_a_tier_of_a_flat_amount_alone_costs_nothing_a_unit() -> None:
    price = price_from_stripe(
        tiered({"up_to": 10, "flat_amount": 999}, {"up_to": "inf", "unit_amount": 1})
    )
    assert Tier(10, Decimal(0), Decimal(999)) == price.tiers[0]


@pytest.mark.parametrize(
    ("recurring", "fields", "expected"),
    [
        (None, {}, UsageType.METERED),
        (None, {"usage_type": "licensed"}, UsageType.LICENSED),
        ({"interval": "month"}, {}, UsageType.LICENSED),
        ({"interval": "month", "meter": "mtr_1"}, {}, UsageType.METERED),
        ({"interval": "month", "usage_type": "metered"}, {}, UsageType.METERED),
        ({"interval": "month"}, {"usage_type": "metered"}, UsageType.METERED),
    ],
)
def test_usage_type_follows_stripes_default_where_there_is_a_recurrence(
    recurring: dict[str, Any] | None, fields: dict[str, Any], expected: UsageType
) -> None:
    price = price_from_stripe(PER_UNIT | {"recurring": recurring} | fields)
    assert expected is price.usage_type


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"product": {"name": "A"}, "nickname": "B"}, "A"),
        ({"product": "prod_1", "nickname": "B", "lookup_key": "c"}, "B"),
        ({"product": {"id": "prod_1", "deleted": True}, "lookup_key": "c"}, "c"),
        ({}, "Usage"),
    ],
)
def test_product_name_is_the_best_name_there_is(fields: dict[str, Any], expected: str) -> None:
    assert expected == price_from_stripe(PER_UNIT | fields).product_name


REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"unit_amount": 1}, "parameter_missing", "currency"),
    (PER_UNIT | {"currency": "usdollar"}, "currency_invalid", "currency"),
    (PER_UNIT | {"currency": "us1"}, "currency_invalid", "currency"),
    (PER_UNIT | {"currency": 840}, "parameter_invalid_string", "currency"),
    ({"currency": "usd"}, "parameter_missing", "unit_amount"),
    (PER_UNIT | {"unit_amount": 1.5}, "float_refused", "unit_amount"),
    (PER_UNIT | {"unit_amount": "1.5"}, "amount_not_an_integer", "unit_amount"),
    (PER_UNIT | {"unit_amount": Decimal("1.5")}, "amount_not_an_integer", "unit_amount"),
    (PER_UNIT | {"unit_amount": True}, "amount_not_an_integer", "unit_amount"),
    (PER_UNIT | {"unit_amount": -1}, "amount_negative", "unit_amount"),
    (PER_UNIT | {"unit_amount": 10**15}, "amount_too_large", "unit_amount"),
    (PER_UNIT | {"unit_amount_decimal": "99"}, "amounts_differ", "unit_amount_decimal"),
    (
        {"currency": "usd", "unit_amount_decimal": 0.05},
        "float_refused",
        "unit_amount_decimal",
    ),
    (
        {"currency": "usd", "unit_amount_decimal": "0.0000000000001"},
        "amount_too_many_decimals",
        "unit_amount_decimal",
    ),
    (
        {"currency": "usd", "unit_amount_decimal": "1e-13"},
        "amount_too_many_decimals",
        "unit_amount_decimal",
    ),
    (
        {"currency": "usd", "unit_amount_decimal": Decimal("Infinity")},
        "amount_not_finite",
        "unit_amount_decimal",
    ),
    (
        {"currency": "usd", "unit_amount_decimal": "NaN"},
        "amount_not_a_number",
        "unit_amount_decimal",
    ),
    (
        {"currency": "usd", "unit_amount_decimal": "1_0"},
        "amount_not_a_number",
        "unit_amount_decimal",
    ),
    ({"currency": "usd", "unit_amount_decimal": "-1"}, "amount_negative", "unit_amount_decimal"),
    ({"currency": "usd", "unit_amount_decimal": []}, "amount_not_a_number", "unit_amount_decimal"),
    (PER_UNIT | {"billing_scheme": "flat"}, "billing_scheme_invalid", "billing_scheme"),
    (PER_UNIT | {"tiers": TIERED["tiers"]}, "tiers_not_allowed", "tiers"),
    (PER_UNIT | {"tiers_mode": "volume"}, "tiers_not_allowed", "tiers_mode"),
    (PER_UNIT | {"recurring": "month"}, "parameter_invalid_object", "recurring"),
    (PER_UNIT | {"recurring": {"interval": "hour"}}, "interval_invalid", "recurring[interval]"),
    (
        PER_UNIT | {"recurring": {"interval": "month", "interval_count": 37}},
        "interval_count_invalid",
        "recurring[interval_count]",
    ),
    (
        PER_UNIT | {"recurring": {"interval": "year", "interval_count": 0}},
        "interval_count_invalid",
        "recurring[interval_count]",
    ),
    (
        PER_UNIT | {"recurring": {"interval": "month", "usage_type": "tiered"}},
        "usage_type_invalid",
        "recurring[usage_type]",
    ),
    (
        PER_UNIT | {"transform_quantity": {"round": "up"}},
        "parameter_missing",
        "transform_quantity[divide_by]",
    ),
    (
        PER_UNIT | {"transform_quantity": {"divide_by": 5}},
        "parameter_missing",
        "transform_quantity[round]",
    ),
    (
        PER_UNIT | {"transform_quantity": {"divide_by": 0, "round": "up"}},
        "transform_quantity_invalid",
        "transform_quantity[divide_by]",
    ),
    (
        PER_UNIT | {"transform_quantity": {"divide_by": 5, "round": "nearest"}},
        "round_invalid",
        "transform_quantity[round]",
    ),
    (
        TIERED | {"transform_quantity": {"divide_by": 5, "round": "up"}},
        "transform_quantity_with_tiers",
        "transform_quantity",
    ),
    (TIERED | {"unit_amount": 5}, "unit_amount_not_allowed", "unit_amount"),
    (TIERED | {"tiers_mode": None}, "parameter_missing", "tiers_mode"),
    (TIERED | {"tiers_mode": "package"}, "tiers_mode_invalid", "tiers_mode"),
    (TIERED | {"tiers": None}, "parameter_missing", "tiers"),
    (tiered(), "parameter_missing", "tiers"),
    (TIERED | {"tiers": "inf"}, "tiers_invalid", "tiers"),
    (TIERED | {"tiers": [{"up_to": 1}] * 1001}, "tiers_too_many", "tiers"),
    (TIERED | {"tiers": [5]}, "tiers_invalid", "tiers[0]"),
    (tiered({"unit_amount": 1}), "parameter_missing", "tiers[0][up_to]"),
    (tiered({"up_to": "inf"}), "parameter_missing", "tiers[0][unit_amount]"),
    (tiered({"up_to": 10, "unit_amount": 1}), "tiers_not_ending_in_inf", "tiers[0][up_to]"),
    (
        tiered({"up_to": "inf", "unit_amount": 1}, {"up_to": "inf", "unit_amount": 1}),
        "tier_inf_not_last",
        "tiers[0][up_to]",
    ),
    (
        tiered(
            {"up_to": 10, "unit_amount": 1},
            {"up_to": 10, "unit_amount": 1},
            {"up_to": "inf", "unit_amount": 1},
        ),
        "tiers_not_ascending",
        "tiers[1][up_to]",
    ),
    (
        tiered({"up_to": 0, "unit_amount": 1}, {"up_to": "inf", "unit_amount": 1}),
        "tier_up_to_invalid",
        "tiers[0][up_to]",
    ),
    (
        tiered({"up_to": "many", "unit_amount": 1}, {"up_to": "inf", "unit_amount": 1}),
        "tier_up_to_invalid",
        "tiers[0][up_to]",
    ),
    (
        tiered({"up_to": 1.0, "unit_amount": 1}, {"up_to": "inf", "unit_amount": 1}),
        "float_refused",
        "tiers[0][up_to]",
    ),
    (
        tiered({"up_to": "inf", "unit_amount": 1, "flat_amount": -5}),
        "amount_negative",
        "tiers[0][flat_amount]",
    ),
    (
        tiered({"up_to": "inf", "unit_amount_decimal": "1.0000000000001"}),
        "amount_too_many_decimals",
        "tiers[0][unit_amount_decimal]",
    ),
]


@pytest.mark.parametrize(("mapping", "code", "param"), REFUSED)
def test_faulty_price_is_refused_with_its_code_and_field(
    mapping: dict[str, Any], code: str, param: str | None
) -> None:
    with pytest.raises(PriceError) as refused:
        price_from_stripe(mapping)
    assert (code, param) == (refused.value.code, refused.value.param)


def test_what_is_no_object_is_refused() -> None:
    value: Any = ["usd", 100]
    with pytest.raises(PriceError) as refused:
        price_from_stripe(value)
    assert refused.value.code == "price_not_an_object"


def test_an_enormous_exponent_is_refused_at_once() -> None:
    with pytest.raises(PriceError) as refused:
        price_from_stripe({"currency": "usd", "unit_amount_decimal": Decimal("1E-999999")})
    assert refused.value.code == "amount_too_many_decimals"
    assert len(refused.value.message) < 100


@pytest.mark.parametrize("amount", ["0", "0.000000000001", "999999999999999", "2.50", "1E+2"])
def test_amounts_within_the_limits_are_taken(amount: str) -> None:
    price = price_from_stripe({"currency": "usd", "unit_amount_decimal": amount})
    assert Decimal(amount) == price.unit_amount


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"currency": "USD", "unit_amount": Decimal(1)}, "currency"),
        ({"unit_amount": Decimal(-1)}, "unit_amount"),
        ({"tiers": (Tier(None, Decimal("1E-13")),)}, "tiers[0][unit_amount]"),
        ({"tiers": (Tier(None, Decimal(1), Decimal("NaN")),)}, "tiers[0][flat_amount]"),
    ],
)
def test_a_price_made_in_code_is_checked_like_one_that_is_read(
    fields: dict[str, Any], param: str
) -> None:
    scheme = {"billing_scheme": BillingScheme.TIERED, "tiers_mode": TiersMode.VOLUME}
    made_of = {"currency": "usd", **(scheme if "tiers" in fields else {}), **fields}
    with pytest.raises(PriceError) as refused:
        Price(**made_of)
    assert param == refused.value.param
