"""A sandbox server for the whole test session, and clients with an account of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.rig import Rig, RunningSandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    """The address of a sandbox that lives as long as the test session."""
    with RunningSandbox() as running:
        yield running.url


@pytest.fixture
def rig(sandbox_url: str, request: pytest.FixtureRequest) -> Rig:
    """A client on a fresh account of the session's sandbox."""
    return Rig.fresh(sandbox_url, request.node.nodeid)
