"""A turn on PostgreSQL is given back at once, not when the server notices that its holder left."""

from __future__ import annotations

from unittest import mock

from tallystick.ports.turns import Turn
from tallystick.storage.postgres import turns
from tallystick.storage.postgres.database import Connection, connect


def test_a_turn_is_free_while_its_connection_is_still_being_closed(postgres_url: str) -> None:
    lingering: list[Connection] = []

    def linger(url: str) -> mock.Mock:
        lingering.append(connect(url))
        return mock.Mock(wraps=lingering[-1], close=mock.Mock())

    with mock.patch.object(turns, "connect", linger):
        for _ in range(2):
            with turns.PostgresTurns(postgres_url).take(Turn.PLANNING) as is_ours:
                assert is_ours
    for connection in lingering:
        connection.close()
