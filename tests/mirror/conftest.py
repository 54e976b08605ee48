"""An account of its own in the sandbox for each test of the mirror, and settings for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tallystick.config import Settings
from tests.mirror.account import Account

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.cli.local_servers import LocalServer


@pytest.fixture
def account(sandbox: LocalServer) -> Account:
    made = Account(sandbox.url, f"sk_test_{uuid.uuid4().hex}")
    made.catalog()
    return made


@pytest.fixture
def settings(account: Account, tmp_path: Path) -> Settings:
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'tallystick.db'}",
        stripe_api_key=account.key,
        stripe_api_base=account.url,
        stripe_rate=100_000,
    )
