"""The wording of invoice lines, as recorded at Stripe where it was recorded."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.prices import price_from_stripe

MONTHLY = {"interval": "month", "usage_type": "metered"}
TIERS = [{"up_to": 1000, "unit_amount": 0, "flat_amount": 999}, {"up_to": "inf", "unit_amount": 2}]
TIERED: dict[str, Any] = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}


@pytest.mark.parametrize(
    ("fields", "usage", "descriptions"),
    [
        (
            {"unit_amount": 2500, "product_data": {"name": "Sub", "unit_label": "user"}},
            "1",
            ["1 user × Sub (at $25.00 / month)"],
        ),
        (
            {"unit_amount_decimal": "0.000381", "nickname": "Standard"},
            "24104515",
            ["24104515 × Standard (at $0.00000381 / month)"],
        ),
        (
            {"unit_amount": 24900, "nickname": "Example", "recurring": {"interval": "year"}},
            "1",
            ["1 × Example (at $249.00 / year)"],
        ),
        (
            TIERED | {"product_data": {"name": "Gitpod Usage", "unit_label": "credit"}},
            "1000.5",
            [
                "1000 credit × Gitpod Usage (Tier 1 at $0.00 / month)",
                "Gitpod Usage (Tier 1 at $9.99 / month)",
                "0.5 credit × Gitpod Usage (Tier 2 at $0.02 / month)",
            ],
        ),
        (
            {"unit_amount": 5, "recurring": MONTHLY | {"interval_count": 3}},
            "2",
            ["2 × Usage (at $0.05 every 3 months)"],
        ),
        (
            {"unit_amount": 5, "transform_quantity": {"divide_by": 1000, "round": "up"}},
            "2500",
            ["2500 × Usage (at $0.05 per 1000 / month)"],
        ),
        ({"unit_amount": 5, "currency": "jpy"}, "2", ["2 × Usage (at ¥5 / month)"]),
        ({"unit_amount": 5, "currency": "chf"}, "2", ["2 × Usage (at CHF 0.05 / month)"]),
        ({"unit_amount": 5, "recurring": None}, "2", ["2 × Usage (at $0.05)"]),
    ],
)
def test_lines_are_worded_as_stripe_words_them(
    fields: dict[str, Any], usage: str, descriptions: list[str]
) -> None:
    price = price_from_stripe({"currency": "usd", "recurring": MONTHLY} | fields)
    assert descriptions == [line.description for line in rate(price, Decimal(usage)).lines]
