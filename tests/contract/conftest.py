"""Each backend in turn, and a second product on the same data, as another process has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallystick.wiring import Tallystick
from tests.contract.backends import BACKENDS, Backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A new, empty store of each backend."""
    made = BACKENDS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(backend: Backend) -> Tallystick:
    """The product on a new, empty store."""
    return backend.product


@pytest.fixture
def other(backend: Backend) -> Iterator[Tallystick]:
    """The product once more on the same data, with connections and a memory of its own."""
    with Tallystick(backend.product.settings, backend.product.clock) as second:
        yield second
