"""Patience of the client's own, for every test of it."""

from __future__ import annotations

import pytest

from tallystick.client import connection, sender
from tests.fixtures.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that closes waits for its thread, and a request for its answer, for as long as a
    slow machine may need: what a test then looks at, the spool above all, nobody changes any more.
    """
    monkeypatch.setattr(connection, "TIMEOUT_SECONDS", 2 * PATIENCE_SECONDS)
    monkeypatch.setattr(sender, "STOP_SECONDS", PATIENCE_SECONDS)
