"""Every amount that Stripe documents or was recorded to bill, from tests/facts.

A row's kind decides which rule it is held against; a kind that no rule here knows fails.
"""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallystick.domain.money import Rounding
from tallystick.domain.quantity import plain
from tallystick.domain.rating.charges import rate, rate_trial
from tallystick.domain.rating.discounts import Discount, apply_discounts
from tallystick.domain.rating.prices import Price, PriceError, UsageType, price_from_stripe
from tallystick.domain.rating.proration import LicensedItem, PeriodShare, prorate_change
from tallystick.domain.rating.tax import TaxRate, tax_line

FACTS = Path(__file__).parents[1] / "facts" / "worked_examples.json"
ROWS: list[dict[str, Any]] = json.loads(FACTS.read_text())["rows"]


def rows(*kinds: str) -> pytest.MarkDecorator:
    """Parametrize with the rows of some kinds."""
    chosen = [row for row in ROWS if row["kind"] in kinds]
    assert chosen, f"no row is of kind {kinds}"
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row["id"])


def test_every_row_is_of_a_kind_that_is_held_here() -> None:
    held = {
        "aggregation",
        "cancel",
        "discount",
        "plan change",
        "proration",
        "rating",
        "rejected",
        "tax",
        "trial",
    }
    assert {row["kind"] for row in ROWS} == held


@rows("rating")
def test_rating_matches_stripe(row: dict[str, Any]) -> None:
    charge = rate(price_from_stripe(row["price"]), Decimal(row["usage"]))
    assert row["amount"] == charge.amount_minor
    if row["lines"] is not None:
        assert row["lines"] == [[plain(line.quantity), line.amount_minor] for line in charge.lines]


def test_the_tie_in_the_example_tiers_depends_on_the_named_setting() -> None:
    row = next(row for row in ROWS if row["id"] == "example-tiers-10001")
    price = price_from_stripe(row["price"])
    assert rate(price, Decimal(10_001), rounding=Rounding.HALF_UP).amount_minor == 8201
    assert rate(price, Decimal(10_001), rounding=Rounding.HALF_EVEN).amount_minor == 8200


@rows("rejected")
def test_rejected_price_is_accepted_only_without_its_fault(row: dict[str, Any]) -> None:
    with pytest.raises(PriceError) as refused:
        price_from_stripe(row["price"])
    faults = {
        "package-with-tiers": ("transform_quantity_with_tiers", "transform_quantity"),
        "decimal-13-places": ("amount_too_many_decimals", "unit_amount_decimal"),
    }
    assert faults[row["id"]] == (refused.value.code, refused.value.param)
    mended = dict(row["price"])
    if row["id"] == "package-with-tiers":
        del mended["transform_quantity"]
    else:
        mended["unit_amount_decimal"] = "0.000000000001"
    assert price_from_stripe(mended).currency == "usd"


@rows("aggregation")
def test_negative_total_is_billed_as_zero(row: dict[str, Any]) -> None:
    """The sums themselves belong to the meters; here is what the sum is billed as."""
    total = sum(Decimal(value) for value in row["values"])
    assert row["expect"]["sum"] == plain(Decimal(total))
    charge = rate(Price(currency="usd", unit_amount=Decimal(100)), Decimal(total))
    billed = row["expect"].get("billed_quantity", row["expect"]["sum"])
    assert billed == plain(charge.quantity)
    assert 100 * int(billed) == charge.amount_minor


@rows("proration")
def test_proration_matches_stripe(row: dict[str, Any]) -> None:
    def item(unit_amount: int) -> LicensedItem:
        price = Price(
            currency="usd", unit_amount=Decimal(unit_amount), usage_type=UsageType.LICENSED
        )
        return LicensedItem(price, Decimal(1))

    credit, debit = prorate_change(
        item(row["old"]), item(row["new"]), PeriodShare(*row["remaining"]), date(2025, 11, 10)
    )
    assert (row["credit"], row["debit"]) == (credit.amount_minor, debit.amount_minor)


@rows("tax")
def test_tax_matches_stripe(row: dict[str, Any]) -> None:
    rates = [TaxRate(Decimal(row["rate_percent"]), row["inclusive"])]
    assert row["tax"] == [tax_line(amount, rates)[0].amount_minor for amount in row["lines"]]


@rows("discount")
def test_discounts_match_stripe(row: dict[str, Any]) -> None:
    if "steps" in row:
        steps = [
            Discount(amount_off=step.get("amount_off"), percent_off=_decimal(step, "percent_off"))
            for step in row["steps"]
        ]
        splits = apply_discounts(row["lines"], steps)
        assert row["discounts"] == [sum(split) for split in splits]
    else:
        (split,) = apply_discounts(row["lines"], [Discount(amount_off=row["amount_off"])])
        assert row["discounts"] == list(split)


def _decimal(step: dict[str, Any], name: str) -> Decimal | None:
    return Decimal(step[name]) if name in step else None


@rows("cancel")
def test_cancelled_usage_is_billed_whole(row: dict[str, Any]) -> None:
    price = price_from_stripe(
        {"currency": "usd", "unit_amount_decimal": row["unit_amount_decimal"]}
    )
    expected = row.get("amount", row.get("upcoming"))
    assert expected == rate(price, Decimal(row["usage"])).amount_minor


@rows("trial")
def test_usage_in_a_trial_is_shown_and_not_charged(row: dict[str, Any]) -> None:
    price = Price(currency="usd", unit_amount=Decimal(100))
    charge = rate_trial(price, Decimal(row["usage"]))
    assert [row["line"]] == [[plain(line.quantity), line.amount_minor] for line in charge.lines]
    assert charge.amount_minor == 0
    assert charge.lines[0].description == f"{row['usage']} × Usage (Free trial)"


@rows("plan change")
def test_usage_on_each_side_of_a_change_of_price_is_rated_at_its_own(row: dict[str, Any]) -> None:
    """Which side is billed at all is the subscription's mode; what it comes to is rated here."""
    sides = [
        rate(
            price_from_stripe(
                {"currency": "usd", "unit_amount_decimal": side["unit_amount_decimal"]}
            ),
            Decimal(side["usage"]),
        ).amount_minor
        for side in (row["a"], row["b"])
    ]
    is_flexible = row["id"] == "change-flexible"
    assert row["billed"] == (sides if is_flexible else sides[1:])
