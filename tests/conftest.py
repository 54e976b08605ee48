"""Fixtures for every test: a clock, a product on a real file, a server over real HTTP."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import httpx2
import pytest
import uvicorn

from tallystick.api.app import create_app
from tallystick.billing.catalog_file import read_catalog
from tallystick.config import Settings
from tallystick.domain.api_keys import digest_of, new_key
from tallystick.domain.instants import parse_instant
from tallystick.wiring import Tallystick
from tests.fixtures.clock import FakeClock
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.stripe_account import sandbox, stripe_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["sandbox", "stripe_settings"]  # fixtures that live in files of their own


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
    key = new_key()
    product.installation.add_key("test", digest_of(key), product.clock.now())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(product), log_level="error", lifespan="off", access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client
    server.should_exit = True
    thread.join()
    listener.close()
