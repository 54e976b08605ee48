"""Fixtures for every test: a clock, a product on a real file, a server over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from tallystick.billing.catalog_file import read_catalog
from tallystick.config import Settings
from tallystick.domain.instants import parse_instant
from tallystick.wiring import Tallystick
from tests.fixtures.clock import FakeClock
from tests.fixtures.draws import make_repeatable
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS, make_patient
from tests.fixtures.postgres import postgres_url
from tests.fixtures.served import served
from tests.fixtures.stripe_account import sandbox, stripe_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["postgres_url", "sandbox", "stripe_settings"]  # fixtures that live in files of their own

make_repeatable()
make_patient()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands at the end of the example's log until a test moves it."""
    return FakeClock(parse_instant("2015-05-21"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings for a new database file."""
    return Settings(database_url=f"sqlite:///{tmp_path / 'tallystick.db'}")


@pytest.fixture
def product(settings: Settings, clock: FakeClock) -> Iterator[Tallystick]:
    """The product on a new database, with the example's catalog in force."""
    with Tallystick(settings, clock) as made:
        catalog = read_catalog(CATALOG_FILE)
        meter_ids = {meter.key: f"mtr_test_{meter.key}" for meter in catalog.meters}
        price_ids = {price.key: f"price_test_{price.key}" for price in catalog.prices}
        made.catalog.keep(catalog, meter_ids, price_ids, clock.now())
        yield made


@pytest.fixture
def api(product: Tallystick) -> Iterator[httpx2.Client]:
    """An HTTP client, with a valid key, of a server on the product."""
    with (
        served(product) as server,
        httpx2.Client(
            base_url=server.url, headers=server.headers, timeout=PATIENCE_SECONDS
        ) as client,
    ):
        yield client
