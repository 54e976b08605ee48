"""`apply` killed at every step and run again: the same catalog, and nothing twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.domain.catalog.objects import CatalogPrice
from tests.catalog.shop import BASE, Shop, write
from tests.catalog.test_drift import environment_of
from tests.fixtures.clock import FakeClock
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tallystick.config import Settings

SCRIPT = Path(__file__).with_name("apply_until.py")

CHANGED = (
    BASE.replace('"0.8"', '"0.7"')
    .replace("name: API", "name: The API")
    .replace("display_name: Calls", "display_name: API calls")
    .replace("unit_amount: 2000", "unit_amount: 2100")
    + "    spend_caps: {usd: 100000}\n"
)
"""Two new versions, two renamed objects, a new term of a plan."""

FIRST_POINTS = (
    "create_meter calls",
    "create_meter storage",
    "create_product api",
    "create_price calls_monthly",
    "create_price storage_monthly_usd",
    "create_price storage_monthly_jpy",
    "create_price seats_monthly",
    "keep",
)
CHANGE_POINTS = (
    "update meter display_name",
    "update product name",
    "create_price calls_monthly",
    "update product default_price",
    "update price active",
    "create_price seats_monthly",
    "update price active again",
    "keep",
)


def run(shop: Shop, file: Path, point: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(file), point],
        env={"PYTHONPATH": "src", **environment_of(shop)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def account(shop: Shop) -> dict[str, Any]:
    """Return everything that the account sells, without ids, and how much of it there is."""
    sdk = shop.sdk
    prices = shop.prices()
    return {
        "counts": shop.everything(),
        "meters": sorted(
            (one.event_name, one.display_name, one.status)
            for one in sdk.billing.meters.list({"limit": 100}).data
        ),
        "products": sorted((one.name, one.active) for one in sdk.products.list().data),
        "prices": sorted(
            (str(one.lookup_key), one.active, str(one.unit_amount), one.currency) for one in prices
        ),
        "default is current": {
            product.default_price in (None, *(one.id for one in prices if one.active))
            for product in sdk.products.list().data
        },
    }


def catalog_here(shop: Shop) -> tuple[object, ...]:
    kept = shop.product.catalog.applied()
    assert kept is not None
    prices = [replace(price, path=()) for price in kept.prices]
    assert all(isinstance(price, CatalogPrice) for price in prices)
    return kept.meters, prices, kept.plans, set(shop.product.catalog.current_prices())


def finish(shop: Shop, file: Path, point: str) -> None:
    killed = run(shop, file, point)
    assert killed.returncode == -signal.SIGKILL, f"{point} was not reached\n{killed.stderr}"
    again = run(shop, file, "list")
    assert again.returncode == 0, again.stderr
    assert shop.drift() == ((), ())
    assert shop.changes(file.read_text("utf-8")) == ()


def other_shop(shop: Shop, folder: Path) -> Shop:
    settings: Settings = shop.settings
    key = f"sk_test_{uuid.uuid4().hex}"
    fields = {"database_url": f"sqlite:///{folder / 'other.db'}", "stripe_api_key": key}
    made = type(settings)(
        **{**{name: getattr(settings, name) for name in settings.__struct_fields__}, **fields}
    )
    return Shop(made, FakeClock(0))


def prepared(shop: Shop, file: Path) -> None:
    """Apply the first catalog and make one of its prices the product's default."""
    applied = shop.apply(BASE)
    default = {"default_price": applied.price_ids["calls_monthly"]}
    shop.sdk.products.update(applied.product_ids["api"], default)
    file.write_text(CHANGED, "utf-8")


def test_the_points_are_all_there_are(shop: Shop, tmp_path: Path) -> None:
    """The list that the other tests kill at is what a whole run passes."""
    file = write(tmp_path, BASE)
    first = run(shop, file, "list").stdout.splitlines()
    assert first == [f"{when} {point}" for point in FIRST_POINTS for when in ("before", "after")]
    prepared(shop, file)
    passed = run(shop, file, "list").stdout.splitlines()
    assert passed == [f"{when} {point}" for point in CHANGE_POINTS for when in ("before", "after")]


@pytest.mark.parametrize("point", FIRST_POINTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_first_apply_killed_and_repeated_ends_in_the_same_catalog(
    shop: Shop, tmp_path: Path, when: str, point: str
) -> None:
    file = write(tmp_path, BASE)
    finish(shop, file, f"{when} {point}")
    undisturbed = other_shop(shop, tmp_path)
    try:
        undisturbed.apply(BASE)
        assert account(shop) == account(undisturbed)
        assert catalog_here(shop) == catalog_here(undisturbed)
    finally:
        undisturbed.product.close()


@pytest.mark.parametrize("point", CHANGE_POINTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_new_versions_killed_and_repeated_end_in_the_same_catalog(
    shop: Shop, tmp_path: Path, when: str, point: str
) -> None:
    file = write(tmp_path, BASE)
    prepared(shop, file)
    finish(shop, file, f"{when} {point}")
    undisturbed = other_shop(shop, tmp_path)
    try:
        prepared(undisturbed, file)
        undisturbed.apply(CHANGED)
        assert account(shop) == account(undisturbed)
        assert catalog_here(shop) == catalog_here(undisturbed)
    finally:
        undisturbed.product.close()
