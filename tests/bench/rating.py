"""How many invoices of five lines are rated in a second, on one core.

Each invoice has one graduated item that enters three tiers, one sub-cent item and one of packages.
Lines carry their descriptions; the trace is written when it is asked for, and measured beside it.
"""

from __future__ import annotations

import gc
from decimal import Decimal
from time import process_time

from tallystick.domain.rating.discounts import Discount
from tallystick.domain.rating.invoices import NO_TERMS, InvoiceTerms, RatedInvoice, rate_invoice
from tallystick.domain.rating.prices import Price, price_from_stripe
from tallystick.domain.rating.tax import TaxRate

INVOICES = 20_000
LINES = 5
ROUNDS = 3
GOAL_PER_SECOND = 20_000

METERED_MONTHLY = {"interval": "month", "usage_type": "metered"}
TIERS = [
    {"up_to": 1000, "unit_amount_decimal": "1"},
    {"up_to": 10_000, "unit_amount_decimal": "0.8"},
    {"up_to": "inf", "unit_amount_decimal": "0.5"},
]
RATING_FIELDS: tuple[dict[str, object], ...] = (
    {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS},
    {"unit_amount_decimal": "0.000381"},
    {"unit_amount": 1000, "transform_quantity": {"divide_by": 60, "round": "up"}},
)
PRICES = tuple(
    price_from_stripe({"currency": "usd", "recurring": METERED_MONTHLY, **fields})
    for fields in RATING_FIELDS
)
TAXED = InvoiceTerms(
    discounts=(Discount(percent_off=Decimal(10)),),
    tax_rates=(TaxRate(Decimal(21), inclusive=False),),
)

Items = list[tuple[Price, Decimal]]


def usages() -> list[Items]:
    """Return the items of every invoice; no two are the same."""
    first, second, third = PRICES
    return [
        [
            (first, Decimal(10_001 + number)),
            (second, Decimal(24_104_515 + number)),
            (third, Decimal(number)),
        ]
        for number in range(INVOICES)
    ]


def results() -> list[dict[str, object]]:
    """Return the figures, best of some rounds."""
    invoices = usages()
    assert len(rate_invoice(invoices[0], currency="usd").lines) == LINES
    return [
        {
            "name": "invoices of five lines rated",
            "value": _best(invoices, NO_TERMS, is_traced=False),
            "unit": "invoices/s on one core",
            "goal": GOAL_PER_SECOND,
        },
        {
            "name": "the same with a discount and tax on each line",
            "value": _best(invoices, TAXED, is_traced=False),
            "unit": "invoices/s on one core",
            "goal": None,
        },
        {
            "name": "the same without them, every trace written out",
            "value": _best(invoices, NO_TERMS, is_traced=True),
            "unit": "invoices/s on one core",
            "goal": None,
        },
    ]


def _best(invoices: list[Items], terms: InvoiceTerms, *, is_traced: bool) -> int:
    return max(_round(invoices, terms, is_traced=is_traced) for _ in range(ROUNDS))


def _round(invoices: list[Items], terms: InvoiceTerms, *, is_traced: bool) -> int:
    """Rate all invoices once, in processor time: what else runs on the machine is not measured."""
    gc.collect()
    started = process_time()
    total = 0
    for items in invoices:
        rated: RatedInvoice = rate_invoice(items, terms, currency="usd")
        total += rated.total_minor
        if is_traced:
            total += len(rated.trace)
    seconds = process_time() - started
    assert total > 0
    return int(len(invoices) / seconds)
