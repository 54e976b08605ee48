"""What was changed at Stripe behind our back is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.domain.catalog.diff import Action, Kind
from tests.catalog.shop import BASE, Shop, write
from tests.fixtures.commands import tallystick

if TYPE_CHECKING:
    from pathlib import Path


def test_an_untouched_account_has_no_drift(shop: Shop) -> None:
    shop.apply(BASE)
    assert shop.drift() == ((), ())


@pytest.mark.parametrize(
    ("key", "params", "field", "before"),
    [
        ("calls_monthly", {"active": False}, "active", "false"),
        ("calls_monthly", {"nickname": "Special"}, "nickname", "Special"),
        ("calls_monthly", {"lookup_key": "mine"}, "lookup_key", "mine"),
        ("calls_monthly", {"metadata": {"tallystick_price": ""}}, "metadata.tallystick_price",
         None),
    ],
)  # fmt: skip
def test_a_price_changed_in_the_dashboard_is_named_and_mended(
    shop: Shop, key: str, params: dict[str, Any], field: str, before: str | None
) -> None:
    price_id = shop.apply(BASE).price_ids[key]
    shop.sdk.prices.update(price_id, params)
    (change,) = shop.drift().changes
    assert (change.action, change.key, change.stripe_id) == (Action.CHANGE, key, price_id)
    assert [(each.field, each.before) for each in change.fields] == [(field, before)]
    shop.apply(BASE)
    assert shop.drift() == ((), ())


def test_a_tax_behavior_set_in_the_dashboard_is_drift_that_only_a_new_version_mends(
    shop: Shop,
) -> None:
    price_id = shop.apply(BASE).price_ids["calls_monthly"]
    shop.sdk.prices.update(price_id, {"tax_behavior": "inclusive"})
    (change,) = shop.drift().changes
    assert (change.action, change.fields) == (
        Action.REPLACE,
        (("tax_behavior", "inclusive", "unspecified"),),
    )


def test_a_lookup_key_taken_by_another_price_is_taken_back(shop: Shop) -> None:
    applied = shop.apply(BASE)
    ours = applied.price_ids["calls_monthly"]
    stranger = shop.sdk.prices.create(
        {
            "currency": "usd",
            "unit_amount": 9,
            "product": applied.product_ids["api"],
            "recurring": {
                "interval": "month",
                "usage_type": "metered",
                "meter": applied.meter_ids["calls"],
            },
            "lookup_key": "calls_monthly",
            "transfer_lookup_key": True,
        }
    )
    (change,) = shop.drift().changes
    assert (change.stripe_id, change.fields) == (ours, (("lookup_key", None, "calls_monthly"),))
    shop.apply(BASE)
    assert shop.price("calls_monthly").id == ours
    assert shop.sdk.prices.retrieve(stranger.id).active


def test_a_version_that_came_back_to_life_is_named(shop: Shop) -> None:
    old_id = shop.apply(BASE).price_ids["calls_monthly"]
    shop.apply(BASE.replace('"0.8"', '"0.7"'))
    shop.sdk.prices.update(old_id, {"active": True})
    (change,) = shop.drift().changes
    assert (change.action, change.stripe_id) == (Action.ARCHIVE, old_id)


def test_products_and_meters_are_looked_at_too(shop: Shop) -> None:
    applied = shop.apply(BASE)
    shop.sdk.products.update(applied.product_ids["api"], {"name": "Apis", "active": False})
    shop.sdk.billing.meters.deactivate(applied.meter_ids["calls"])
    meter, product = shop.drift().changes
    assert (meter.kind, [each.field for each in meter.fields]) == (Kind.METER, ["active"])
    assert (product.kind, [each.field for each in product.fields]) == (
        Kind.PRODUCT,
        ["name", "active"],
    )
    shop.apply(BASE)
    assert shop.drift() == ((), ())


def environment_of(shop: Shop) -> dict[str, str]:
    settings = shop.settings
    return {
        "TALLYSTICK_DATABASE_URL": settings.database_url,
        "TALLYSTICK_STRIPE_API_KEY": settings.stripe_api_key or "",
        "TALLYSTICK_STRIPE_API_BASE": settings.stripe_api_base or "",
        "TALLYSTICK_STRIPE_RATE": "10000",
    }


def test_the_commands_say_by_exit_code_what_they_found(shop: Shop, tmp_path: Path) -> None:
    """One walk through plan, apply, drift: each step as its users run it."""
    environment = environment_of(shop)
    file = str(write(tmp_path, BASE))

    def run(*arguments: str) -> tuple[int, str]:
        done = tallystick(*arguments, environment=environment)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout

    code, said = run("drift")
    assert code == 2  # nothing was applied yet
    code, said = run("plan", file, "--exit-code")
    assert code == 1
    assert "+ price calls_monthly" in said
    assert "7 to create" in said
    assert run("plan", file)[0] == 0
    assert run("apply", file)[0] == 0
    assert run("plan", file, "--exit-code") == (0, "nothing to change: Stripe has all of it\n")
    assert run("drift") == (0, "no drift: Stripe is as the catalog was applied\n")

    price = shop.price("calls_monthly")
    shop.sdk.prices.update(price.id, {"active": False})
    code, said = run("drift")
    assert (code, said) == (
        1,
        f"price calls_monthly: active is false, applied was true ({price.id})\n",
    )
    code, said = run("drift", "--json")
    assert code == 1
    assert json.loads(said)["drift"][0]["fields"] == [
        {"field": "active", "before": "false", "after": "true"}
    ]
    assert run("apply", file)[0] == 0
    assert run("drift")[0] == 0

    write(tmp_path, BASE.replace('"0.8"', '"0.7"'))
    code, said = run("plan", file)
    assert code == 0
    assert "± price calls_monthly  new version" in said
    assert "tiers[1].unit_amount_decimal  0.8 -> 0.7" in said
    assert f"{price.id} is archived; no subscription is on it" in said
