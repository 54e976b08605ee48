"""A team that was on Stripe before starts from the catalog that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # it has no stubs

from tallystick.billing.catalog_changes import apply_catalog, plan_catalog
from tallystick.billing.catalog_file import read_catalog_texts
from tallystick.billing.catalog_pull import pull_catalog, write_yaml
from tallystick.domain.catalog.diff import Action
from tallystick.domain.catalog.schema import catalog_schema
from tests.catalog.shop import BASE, Shop
from tests.catalog.test_drift import environment_of
from tests.fixtures.commands import tallystick
from tests.sandbox.rig import client_for

if TYPE_CHECKING:
    from pathlib import Path

ACACIA = "2025-02-24.acacia"


def pulled(shop: Shop) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    found = pull_catalog(shop.product.stripe.catalog)
    jsonschema.validate(found.document, catalog_schema())
    return write_yaml(found.document), found.document, found.notes


def test_what_was_applied_is_pulled_and_plans_nothing(shop: Shop) -> None:
    applied = shop.apply(BASE)
    text, document, notes = pulled(shop)
    assert notes == ()
    assert set(document["products"]["api"]["prices"]) == set(applied.price_ids)
    fresh = read_catalog_texts([("pulled.yaml", text)])
    by_key = {price.key: price.price for price in shop.read(BASE).prices}
    assert {price.key: price.price for price in fresh.prices} == by_key


def old_account(shop: Shop) -> dict[str, str]:
    """Make an account by hand: keys of its own, no metadata, a legacy price, a count meter."""
    sdk = shop.sdk
    product = sdk.products.create({"name": "Our API!"})
    meter = sdk.billing.meters.create(
        {
            "display_name": "Old",
            "event_name": "Old Calls",
            "default_aggregation": {"formula": "sum"},
        }
    )
    counted = sdk.billing.meters.create(
        {"display_name": "C", "event_name": "hits", "default_aggregation": {"formula": "count"}}
    )
    ids = {"product": product.id, "meter": meter.id}

    def price(name: str, meter_id: str, **params: Any) -> None:
        recurring = {"interval": "month", "usage_type": "metered", "meter": meter_id}
        request = {"currency": "usd", "product": product.id, "recurring": recurring, **params}
        ids[name] = sdk.prices.create(request).id

    price("keyed", meter.id, unit_amount_decimal="0.25", lookup_key="Our key / 1")
    price("keyless", meter.id, unit_amount=7, nickname="Old plan")
    price("counted", counted.id, unit_amount=1)
    older: Any = client_for(
        shop.settings.stripe_api_base or "", shop.settings.stripe_api_key or "",
        stripe_version=ACACIA,
    ).v1  # fmt: skip
    legacy: dict[str, Any] = {
        "currency": "usd",
        "product": product.id,
        "unit_amount": 30,
        "recurring": {"interval": "month", "usage_type": "metered", "aggregate_usage": "max"},
        "lookup_key": "legacy",
    }
    ids["legacy"] = older.prices.create(legacy).id
    return ids


def test_an_account_made_by_hand_is_taken_over_without_new_objects(shop: Shop) -> None:
    ids = old_account(shop)
    text, document, _ = pulled(shop)
    prices = document["products"]["our_api"]["prices"]
    assert prices["Our key / 1"]["unit_amount_decimal"] == "0.25"
    assert prices["old_plan"]["stripe_id"] == ids["keyless"]
    assert prices["legacy"]["recurring"]["aggregate_usage"] == "max"
    assert document["meters"]["hits"] == {"external": {"event_name": "hits"}}
    assert document["meters"]["Old Calls"]["event_type"] == "Old Calls"

    count = shop.everything()
    product = shop.product
    catalog = read_catalog_texts([("pulled.yaml", text)])
    planned = plan_catalog(catalog, product.catalog, product.stripe.catalog).changes
    assert {change.action for change in planned} == {Action.CHANGE}  # keys, nothing that is sold
    applied = apply_catalog(catalog, product.catalog, product.stripe.catalog, product.clock)
    assert applied.price_ids["old_plan"] == ids["keyless"]
    assert applied.price_ids["legacy"] == ids["legacy"]
    assert shop.everything() == count
    assert plan_catalog(catalog, product.catalog, product.stripe.catalog).changes == ()
    assert shop.price("old_plan").id == ids["keyless"]


def test_what_cannot_be_written_is_said(shop: Shop) -> None:
    applied = shop.apply(BASE)
    product_id, meter_id = applied.product_ids["api"], applied.meter_ids["calls"]
    recurring = {"interval": "month", "usage_type": "metered", "meter": meter_id}
    request = {"currency": "usd", "product": product_id, "recurring": recurring, "unit_amount": 5}
    two = shop.sdk.prices.create({**request, "currency_options": {"eur": {"unit_amount": 4}}})
    shop.sdk.billing.meters.deactivate(applied.meter_ids["storage"])
    _, document, notes = pulled(shop)
    assert two.id in str(document)
    assert [note for note in notes if "its meter is inactive" in note]
    assert [note for note in notes if f"{two.id} also has eur as currency options" in note]


def test_the_command_writes_a_file_and_never_over_another(shop: Shop, tmp_path: Path) -> None:
    shop.apply(BASE)
    output = tmp_path / "pulled.yaml"
    arguments = ("pull", "--output", str(output))
    environment = environment_of(shop)
    assert tallystick(*arguments, environment=environment).returncode == 0
    written = output.read_text("utf-8")
    assert tallystick("plan", str(output), environment=environment).returncode == 2  # decimals
    refused = tallystick(*arguments, environment=environment)
    assert (refused.returncode, output.read_text("utf-8")) == (2, written)
    assert tallystick("pull", environment=environment).stdout == written
