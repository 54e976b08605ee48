"""A shop with an account of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.catalog.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.config import Settings
    from tests.fixtures.clock import FakeClock


@pytest.fixture
def shop(stripe_settings: Settings, clock: FakeClock) -> Iterator[Shop]:
    """A team that has applied nothing yet."""
    made = Shop(stripe_settings, clock)
    yield made
    made.product.close()
