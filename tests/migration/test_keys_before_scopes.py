"""Keys from before there were scopes go on doing what they could, and no more."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tallystick.domain.api_keys import ApiKey, Scope, digest_of
from tallystick.storage.sqlite import migrations
from tallystick.wiring import Tallystick

if TYPE_CHECKING:
    import pytest

    from tallystick.config import Settings
    from tests.fixtures.clock import FakeClock

BEFORE_SCOPES = 10
"""The last migration without them."""


def test_an_old_key_keeps_what_it_could_do(
    settings: Settings, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settings.sqlite_path()
    older = migrations.migrations()[:BEFORE_SCOPES]
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda: older)
        assert migrations.migrate(path, 0) == BEFORE_SCOPES
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO api_keys (id, name, digest, created_at) VALUES ('key_1', 'old', ?, 5)",
            (digest_of("tsk_old"),),
        )
    with Tallystick(settings, clock) as product:
        scopes = frozenset({Scope.INGEST, Scope.READ, Scope.OPERATE})
        assert product.api_keys.find(digest_of("tsk_old")) == ApiKey("key_1", "old", scopes, 5)
