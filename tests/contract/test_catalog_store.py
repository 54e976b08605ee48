"""What every store of the catalog promises, whichever backend it is."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.catalog.reading import catalog_from_mapping
from tallystick.domain.meters import Aggregation, Meter, PropertyFilter, TimeUnit
from tallystick.domain.usage_records import RecordAggregation
from tests.contract.backends import NOW, put_in_force
from tests.contract.racing import race

if TYPE_CHECKING:
    from tallystick.domain.catalog.objects import Catalog
    from tallystick.wiring import Tallystick

METER_IDS = {"calls": "mtr_calls"}


def catalog(amount: str, *prices: str) -> Catalog:
    """Return a catalog with a meter, and prices of it at an amount."""
    declared: dict[str, Any] = {
        name: {"meter": "calls", "currency": "usd", "unit_amount_decimal": amount}
        for name in prices
    }
    return catalog_from_mapping(
        {
            "meters": {"calls": {"event_type": "call", "aggregation": "sum"}},
            "products": {"api": {"name": "API", "unit_label": "call", "prices": declared}},
        }
    )


def test_nothing_is_known_before_the_first_catalog(store: Tallystick) -> None:
    assert store.catalog.applied() is None
    assert store.catalog.meters().by_key == {}
    assert store.catalog.current_prices() == {}
    assert store.catalog.meter_key("mtr_calls") is None
    assert store.catalog.price("price_1") is None


def test_meters_come_back_as_they_were_declared(store: Tallystick) -> None:
    meters = (
        Meter("plain", "Plain", "call", Aggregation.COUNT),
        Meter(
            "full",
            "Ünï",
            "call",
            Aggregation.UNIQUE_COUNT,
            12,
            report_every_minutes=15,
            counted_property="user",
            filters=(PropertyFilter("region", ("eu", "us")),),
            group_by=("region", "model"),
        ),
        Meter("seats", "", "seat", Aggregation.TIME_WEIGHTED, 3, per=TimeUnit.DAY),
    )
    put_in_force(store, meters)
    assert tuple(store.catalog.meters().by_key.values()) == meters
    assert store.catalog.stripe_meter_ids() == {
        "plain": "mtr_plain",
        "full": "mtr_full",
        "seats": "mtr_seats",
    }
    assert store.catalog.meter_key("mtr_full") == "full"


def test_another_process_sees_a_catalog_once_it_is_kept(
    store: Tallystick, other: Tallystick
) -> None:
    before = other.catalog.meters()
    store.catalog.keep(catalog("5", "base"), METER_IDS, {"base": "price_1"}, NOW)
    assert list(other.catalog.meters().by_key) == ["calls"]
    assert other.catalog.meters().version != before.version
    assert other.catalog.applied() == store.catalog.applied()


def test_what_was_applied_comes_back_exact(store: Tallystick) -> None:
    kept = catalog("0.000000000123", "base")
    store.catalog.keep(kept, METER_IDS, {"base": "price_1"}, NOW)
    applied = store.catalog.applied()
    assert applied is not None
    assert (kept.meters, kept.products) == (applied.meters, applied.products)


def test_replaced_and_retired_prices_stay_known(store: Tallystick) -> None:
    catalogs = store.catalog
    first = {"base": "price_1", "extra": "price_9"}
    catalogs.keep(catalog("5", "base", "extra"), METER_IDS, first, NOW)
    catalogs.keep(catalog("6", "base"), METER_IDS, {"base": "price_2"}, NOW + 1, retired=["extra"])
    assert catalogs.current_prices() == {"base": "price_2"}
    amounts = []
    for stripe_price_id in ("price_1", "price_2", "price_9"):
        price = catalogs.price(stripe_price_id)
        assert price is not None
        assert price.product_name == "API"
        amounts.append(price.unit_amount)
    assert amounts == [Decimal(5), Decimal(6), Decimal(5)]
    assert catalogs.price("price_else") is None


def test_a_price_that_comes_back_is_current_again(store: Tallystick) -> None:
    catalogs = store.catalog
    for stripe_price_id in ("price_1", "price_2", "price_1"):
        catalogs.keep(catalog("5", "base"), METER_IDS, {"base": stripe_price_id}, NOW)
    assert catalogs.current_prices() == {"base": "price_1"}


def test_a_source_derives_ids_until_a_catalog_says_that_it_does_not(
    store: Tallystick, other: Tallystick
) -> None:
    def keep(**sources: object) -> frozenset[str]:
        declared = {name: {"derive_ids": derives} for name, derives in sources.items()}
        store.catalog.keep(catalog_from_mapping({"sources": declared}), {}, {}, NOW)
        return other.catalog.meters().deriving_sources

    assert other.catalog.meters().deriving_sources == frozenset()
    assert keep(gateway=True, cron=False) == {"gateway"}
    assert keep(cron=True) == {"gateway", "cron"}
    assert keep(gateway=False) == {"cron"}
    assert store.catalog.meters().deriving_sources == {"cron"}


def test_legacy_prices_say_how_records_are_added_up(store: Tallystick) -> None:
    legacy = catalog_from_mapping(
        {
            "meters": {"calls": {"event_type": "call", "aggregation": "sum"}},
            "products": {
                "old": {
                    "name": "Old",
                    "stripe_id": "prod_old",
                    "prices": {
                        "recorded": {
                            "currency": "usd",
                            "unit_amount": 2,
                            "recurring": {"interval": "month", "aggregate_usage": "max"},
                            "usage_records_of": "calls",
                            "stripe_id": "price_old",
                        }
                    },
                }
            },
        }
    )
    store.catalog.keep(legacy, METER_IDS, {"recorded": "price_old"}, NOW)
    assert store.record_prices.record_aggregations("calls") == {"price_old": RecordAggregation.MAX}
    assert store.record_prices.record_aggregations("else") == {}


def test_of_racing_catalogs_each_is_kept_whole(store: Tallystick, other: Tallystick) -> None:
    def keep(store: Tallystick, stripe_price_id: str) -> None:
        for _ in range(5):
            store.catalog.keep(catalog("5", "base"), METER_IDS, {"base": stripe_price_id}, NOW)

    before = store.catalog.meters().version
    race([lambda: keep(store, "price_1"), lambda: keep(other, "price_2")])
    assert store.catalog.current_prices()["base"] in ("price_1", "price_2")
    assert store.catalog.meters().version == other.catalog.meters().version == before + 10
