"""Whatever price a catalog declares is written down and found again at Stripe, unchanged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from tallystick.billing.catalog_file import read_catalog_texts
from tallystick.billing.catalog_pull import write_yaml
from tallystick.domain.catalog.diff import Action, difference
from tallystick.domain.catalog.objects import Catalog, CatalogError, CatalogPrice, CatalogProblem
from tallystick.domain.catalog.prices import definition_of
from tallystick.domain.catalog.state import CatalogState, StripeMeter, StripePrice, StripeProduct
from tallystick.domain.rating.prices import Price, price_from_stripe
from tests.property import strategies

PRICES = strategies.metered_prices().map(
    lambda price: replace(price, interval="month", key="one", product_name="api")
)


def document_of(price: Price) -> dict[str, Any]:
    written = {"meter": "calls", **definition_of(price)}
    return {
        "meters": {"calls": {"event_type": "call", "aggregation": "count"}},
        "products": {"api": {"prices": {"one": written}}},
    }


def catalog_of(price: Price) -> Catalog:
    return read_catalog_texts([("c.yaml", write_yaml(document_of(price)))])


def as_answered(price: Price) -> dict[str, Any]:
    """Return the price as Stripe answers: whole amounts beside decimals, None for an open end."""

    def amounts(row: dict[str, Any], *names: str) -> dict[str, Any]:
        for name in names:
            fine = row.get(f"{name}_decimal")
            row[name] = int(fine) if fine is not None and fine.isdigit() else None
            row[f"{name}_decimal"] = fine
        return row

    answer = amounts(definition_of(price), "unit_amount")
    for tier in answer.get("tiers", ()):
        amounts(tier, "unit_amount", "flat_amount")
        tier["up_to"] = None if tier["up_to"] == "inf" else tier["up_to"]
    return answer


def state_with(price: Price, meter_id: str = "mtr_1") -> CatalogState:
    kept = StripePrice(
        "price_1", "one", "one", "prod_1", meter_id, True, None, None, None, as_answered(price)
    )
    return CatalogState(
        (StripeMeter("mtr_1", "calls", "calls", "sum", None, True),),
        (StripeProduct("prod_1", "api", "api", None, True, None),),
        (kept,),
    )


@given(PRICES)
def test_a_price_is_written_and_read_back_as_itself(price: Price) -> None:
    stored = json.loads(json.dumps(definition_of(price)))
    product = {"name": price.product_name, "unit_label": price.unit_label}
    assert price_from_stripe({**stored, "lookup_key": "one", "product_data": product}) == price
    (declared,) = catalog_of(price).prices
    assert isinstance(declared, CatalogPrice)
    assert declared.price == replace(price, unit_label=None)


@given(PRICES)
def test_what_stripe_has_already_is_no_difference(price: Price) -> None:
    assert difference(catalog_of(price), state_with(price), {}) == ((), ())


@given(PRICES, PRICES)
def test_other_amounts_are_a_new_version_that_names_each_field(now: Price, then: Price) -> None:
    before, after = definition_of(now), definition_of(then)
    (changes, conflicts) = difference(catalog_of(then), state_with(now), {})
    assert conflicts == ()
    if before == after:
        assert changes == ()
        return
    (change,) = changes
    assert (change.action, change.stripe_id) == (Action.REPLACE, "price_1")
    assert all(field.before != field.after for field in change.fields)
    assert change.fields


@given(PRICES, st.sampled_from(["mtr_2", ""]))
def test_a_price_on_another_meter_is_never_taken_for_ours(price: Price, meter_id: str) -> None:
    (change,) = difference(catalog_of(price), state_with(price, meter_id), {}).changes
    assert change.action is Action.REPLACE
    assert change.fields[0].field == "meter"


@given(st.text(max_size=60))
def test_no_text_at_all_is_an_unforeseen_error(text: str) -> None:
    """A file is a catalog, or its problems are named: nothing else comes out of reading it."""
    problems: tuple[CatalogProblem, ...] = ()
    try:
        read_catalog_texts([("c.yaml", text)])
    except CatalogError as error:
        problems = error.problems
    assert all(problem.position is not None for problem in problems)


def test_the_yaml_written_is_what_a_plain_reader_reads() -> None:
    document = {"meters": {"calls": {"event_type": "call", "aggregation": "count"}}}
    assert yaml.safe_load(write_yaml(document)) == document
