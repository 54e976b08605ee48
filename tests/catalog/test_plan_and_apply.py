"""Plan and apply, over real HTTP to a real sandbox."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tallystick.domain.catalog.diff import Action, Kind
from tallystick.domain.catalog.objects import CatalogError
from tallystick.domain.rating.charges import rate
from tallystick.ports.errors import StripeUnreachable
from tests.catalog.shop import BASE, Shop

CHEAPER = BASE.replace('"0.8"', '"0.7"')


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_planning_changes_nothing_and_applying_does_what_was_planned(shop: Shop) -> None:
    planned = shop.changes(BASE)
    assert shop.everything() == (0, 0, 0)
    assert [str(change) for change in planned] == [
        "meter calls",
        "meter storage",
        "product api",
        "price calls_monthly",
        "price storage_monthly_usd",
        "price storage_monthly_jpy",
        "price seats_monthly",
    ]
    assert {change.action for change in planned} == {Action.CREATE}
    applied = shop.apply(BASE)
    assert applied.changes == planned
    assert shop.everything() == (2, 1, 4)
    assert shop.changes(BASE) == ()
    assert shop.apply(BASE).changes == ()
    assert shop.everything() == (2, 1, 4)


def test_stripe_gets_every_amount_as_declared(shop: Shop) -> None:
    ids = shop.apply(BASE).price_ids
    tiers = shop.sdk.prices.retrieve(ids["calls_monthly"], {"expand": ["tiers"]}).tiers
    assert [(tier.up_to, str(tier.unit_amount_decimal)) for tier in tiers] == [
        (1000, "1"),
        (10000, "0.8"),
        (None, "0.5"),
    ]
    sub_cent = shop.price("storage_monthly_usd")
    assert (sub_cent.id, format(sub_cent.unit_amount_decimal, "f")) == (
        ids["storage_monthly_usd"],
        "0.000000000001",
    )
    yen = shop.price("storage_monthly_jpy")
    assert (yen.currency, yen.unit_amount, yen.tax_behavior) == ("jpy", 3, "inclusive")
    seats = shop.price("seats_monthly")
    assert (seats.recurring.usage_type, seats.recurring.meter) == ("licensed", None)
    (product,) = shop.sdk.products.list().data
    assert (product.name, product.unit_label) == ("API", "call")


def test_a_changed_amount_becomes_a_new_version_and_subscriptions_keep_the_old_one(
    shop: Shop,
) -> None:
    old_id = shop.apply(BASE).price_ids["calls_monthly"]
    subscription = shop.subscribe(old_id)
    (change,) = shop.changes(CHEAPER)
    assert (change.action, change.key, change.stripe_id) == (
        Action.REPLACE,
        "calls_monthly",
        old_id,
    )
    assert change.fields == (("tiers[1].unit_amount_decimal", "0.8", "0.7"),)
    assert change.subscriptions == 1

    new_id = shop.apply(CHEAPER).price_ids["calls_monthly"]
    assert new_id != old_id
    assert shop.price("calls_monthly").id == new_id
    old = shop.sdk.prices.retrieve(old_id)
    assert (old.active, old.lookup_key) == (False, None)
    kept = shop.sdk.subscriptions.retrieve(subscription.id)
    assert kept["items"].data[0].price.id == old_id
    assert shop.changes(CHEAPER) == ()


def test_usage_under_the_old_version_is_still_rated_at_it(shop: Shop) -> None:
    old_id = shop.apply(BASE).price_ids["calls_monthly"]
    new_id = shop.apply(CHEAPER).price_ids["calls_monthly"]
    store = shop.product.catalog
    old, new = store.price(old_id), store.price(new_id)
    assert old is not None
    assert new is not None
    assert rate(old, Decimal(10_000)).amount_minor == 1_000 + 7_200
    assert rate(new, Decimal(10_000)).amount_minor == 1_000 + 6_300
    assert store.current_prices()["calls_monthly"] == new_id


def test_going_back_to_an_earlier_amount_makes_a_third_version(shop: Shop) -> None:
    ids = [shop.apply(text).price_ids["calls_monthly"] for text in (BASE, CHEAPER, BASE)]
    assert len(set(ids)) == 3
    assert [price.id for price in shop.prices(active=True) if price.id in ids] == ids[2:]


def test_the_products_default_price_is_moved_before_the_old_one_is_archived(shop: Shop) -> None:
    applied = shop.apply(BASE)
    product_id = applied.product_ids["api"]
    shop.sdk.products.update(product_id, {"default_price": applied.price_ids["calls_monthly"]})
    new_id = shop.apply(CHEAPER).price_ids["calls_monthly"]
    assert shop.sdk.products.retrieve(product_id).default_price == new_id


@pytest.mark.parametrize(
    ("old", "new", "kind", "field"),
    [
        ("display_name: Calls", "display_name: API calls", Kind.METER, "display_name"),
        ("name: API", "name: The API", Kind.PRODUCT, "name"),
        ("unit_label: call", "unit_label: request", Kind.PRODUCT, "unit_label"),
        ("unit_amount: 2000", "unit_amount: 2000\n        tax_behavior: exclusive", Kind.PRICE,
         "tax_behavior"),
        ("unit_amount: 2000", "unit_amount: 2000\n        nickname: Seats", Kind.PRICE,
         "nickname"),
    ],
)  # fmt: skip
def test_what_stripe_lets_change_is_changed_in_place(
    shop: Shop, old: str, new: str, kind: Kind, field: str
) -> None:
    ids = shop.apply(BASE).price_ids
    changed = replaced(BASE, old, new)
    (change,) = shop.changes(changed)
    assert (change.action, change.kind) == (Action.CHANGE, kind)
    assert [each.field for each in change.fields] == [field]
    assert shop.apply(changed).price_ids == ids
    assert shop.changes(changed) == ()


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("unit_amount: 3, tax_behavior: inclusive", "unit_amount: 4, tax_behavior: inclusive",
         "unit_amount_decimal"),
        ("tax_behavior: inclusive", "tax_behavior: exclusive", "tax_behavior"),
        ("recurring: {interval: month, usage_type: licensed}",
         "recurring: {interval: year, usage_type: licensed}", "recurring.interval"),
        ("tiers_mode: graduated", "tiers_mode: volume", "tiers_mode"),
        ("unit_amount: 2000", "unit_amount: 2000\n        transform_quantity: "
         "{divide_by: 10, round: up}", "transform_quantity.divide_by"),
    ],
)  # fmt: skip
def test_what_stripe_never_changes_becomes_a_new_version(
    shop: Shop, old: str, new: str, field: str
) -> None:
    shop.apply(BASE)
    changed = replaced(BASE, old, new)
    (change,) = shop.changes(changed)
    assert change.action is Action.REPLACE
    assert field in [each.field for each in change.fields]
    shop.apply(changed)
    assert shop.changes(changed) == ()


def test_a_meter_cannot_become_another_one_without_a_version(shop: Shop) -> None:
    shop.apply(BASE)
    altered = replaced(
        BASE, "event_type: call, aggregation: count", "event_type: call, aggregation: sum"
    )
    with pytest.raises(
        CatalogError, match=r"catalog.yaml:2: meters.calls.aggregation: was 'count'"
    ):
        shop.apply(altered)


def test_a_new_version_of_a_meter_takes_its_prices_along(shop: Shop) -> None:
    before = shop.apply(BASE)
    altered = replaced(
        BASE,
        "event_type: call, aggregation: count",
        "event_type: call, aggregation: sum, version: 2",
    )
    meter, price = shop.changes(altered)
    assert (meter.action, str(meter)) == (Action.CREATE, "meter calls_v2")
    assert (price.action, price.fields) == (Action.REPLACE, (("meter", "calls", "calls_v2"),))
    after = shop.apply(altered)
    store = shop.product.catalog
    assert set(store.meters().by_key) == {"calls", "storage", "calls_v2"}
    assert store.meter_key(before.meter_ids["calls"]) == "calls"
    assert shop.price("calls_monthly").recurring.meter == after.meter_ids["calls_v2"]


def test_a_price_left_out_stays_until_pruning_is_asked_for(shop: Shop) -> None:
    seats_id = shop.apply(BASE).price_ids["seats_monthly"]
    without = BASE[: BASE.index("      seats_monthly")]
    planned = shop.plan(without)
    assert (planned.changes, planned.undeclared) == ((), ("seats_monthly",))
    shop.apply(without)
    assert shop.sdk.prices.retrieve(seats_id).active

    (change,) = shop.plan(without, prune=True).changes
    assert (change.action, change.stripe_id, change.subscriptions) == (Action.ARCHIVE, seats_id, 0)
    shop.apply(without, prune=True)
    assert not shop.sdk.prices.retrieve(seats_id).active
    assert shop.plan(without, prune=True).changes == ()
    assert [change.action for change in shop.changes(BASE)] == [Action.CHANGE]


def test_a_lost_database_finds_everything_again_by_keys(shop: Shop) -> None:
    ids = shop.apply(BASE).price_ids
    shop.product.close()
    path = shop.settings.sqlite_path()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    anew = Shop(shop.settings, shop.product.clock)
    try:
        assert anew.changes(BASE) == ()
        assert anew.apply(BASE).price_ids == ids
    finally:
        anew.product.close()


def test_the_applied_catalog_is_remembered_with_every_digit(shop: Shop) -> None:
    shop.apply(BASE)
    kept, declared = shop.product.catalog.applied(), shop.read(BASE)
    assert kept is not None
    assert (kept.meters, kept.products, kept.plans) == (
        declared.meters,
        declared.products,
        declared.plans,
    )


def test_two_products_that_claim_one_key_are_refused(shop: Shop) -> None:
    shop.apply(BASE)
    copied = {"name": "copy", "metadata": {"tallystick_product": "api"}}
    shop.sdk.products.create(copied)
    with pytest.raises(CatalogError, match=r"products.api: several Stripe products have this"):
        shop.plan(BASE)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"default_aggregation": {"formula": "count"}}, "aggregates by 'count'"),
        (
            {"default_aggregation": {"formula": "sum"}, "event_time_window": "day"},
            "pre-aggregated by day",
        ),
    ],
)
def test_a_meter_that_cannot_take_differences_is_refused_and_can_be_external(
    shop: Shop, params: dict[str, Any], message: str
) -> None:
    shop.sdk.billing.meters.create({"display_name": "c", "event_name": "calls", **params})
    with pytest.raises(CatalogError, match=message):
        shop.plan(BASE)
    external = replaced(
        BASE,
        "calls: {display_name: Calls, event_type: call, aggregation: count}",
        "calls: {external: {event_name: calls}}",
    )
    shop.apply(external)
    assert set(shop.product.catalog.meters().by_key) == {"storage"}
    assert shop.changes(external) == ()


def test_creating_twice_under_one_token_creates_once(shop: Shop) -> None:
    gateway = shop.product.stripe.catalog
    meter = shop.read(BASE).meters[0]
    assert gateway.create_meter(meter, "7") == gateway.create_meter(meter, "7")
    assert shop.everything() == (1, 0, 0)


@pytest.mark.parametrize("kind", ["server_error", "server_error_after", "cut_before", "cut_after"])
@pytest.mark.parametrize("path", ["/v1/billing/meters", "/v1/products", "/v1/prices"])
def test_a_creation_that_fails_or_whose_answer_is_lost_is_made_once_by_the_next_run(
    shop: Shop, kind: str, path: str
) -> None:
    shop.faults({"kind": kind, "path": path, "method": "POST", "times": 1})
    with pytest.raises(StripeUnreachable):
        shop.apply(BASE)
    shop.apply(BASE)
    assert shop.everything() == (2, 1, 4)
    assert shop.changes(BASE) == ()


def test_a_product_deleted_after_a_run_is_made_again_at_once(shop: Shop) -> None:
    """The key of a creation belongs to one run: a later one is not answered from the first."""
    first = shop.apply(BASE.split("plans:")[0])
    only = BASE[: BASE.index("products:")] + "products:\n  other: {name: Other}\n"
    made = shop.apply(only).product_ids["other"]
    shop.sdk.products.delete(made)
    again = shop.apply(only).product_ids["other"]
    assert again != made
    assert first.product_ids["api"] != again


@pytest.mark.parametrize(
    ("new", "field"),
    [
        ("aggregation: sum, decimals: 4", "decimals"),
        ("aggregation: sum, decimals: 3, filters: {region: eu}", "filters"),
        ("aggregation: sum, decimals: 3, group_by: [region]", "group_by"),
        ("aggregation: unique_count, property: id, decimals: 3", "aggregation"),
    ],
)
def test_whatever_decides_what_usage_was_needs_a_version(shop: Shop, new: str, field: str) -> None:
    shop.apply(BASE)
    altered = replaced(BASE, "aggregation: sum, decimals: 3", new)
    with pytest.raises(CatalogError, match=rf"catalog.yaml:3: meters.storage.{field}: was"):
        shop.plan(altered)
    versioned = replaced(altered, "event_type: stored,", "event_type: stored, version: 2,")
    assert "meter storage_v2" in [str(change) for change in shop.plan(versioned).changes]
