"""What every backend promises of turns: one has it, and who dies gives it back."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tallystick.ports.turns import Turn
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

HOLDER = """
import sys
from tallystick.config import Settings
from tallystick.ports.turns import Turn
from tallystick.wiring import Tallystick

with Tallystick(Settings(database_url=sys.argv[1])) as product:
    with product.turns.take(Turn.PLANNING) as is_ours:
        print(is_ours, flush=True)
        sys.stdin.read()
"""


def has_turn(product: Tallystick, turn: Turn = Turn.PLANNING) -> bool:
    with product.turns.take(turn) as is_ours:
        return is_ours


def test_a_turn_is_one_process_s_until_it_ends(store: Tallystick, other: Tallystick) -> None:
    with store.turns.take(Turn.PLANNING) as is_ours:
        assert is_ours
        assert not has_turn(other)
        assert not has_turn(store)
        assert has_turn(other, Turn.SYNCING)
    assert has_turn(other)
    assert has_turn(store)


def test_who_is_killed_gives_its_turn_back(store: Tallystick) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.settings.database_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert "True\n" in iter(holder.stdout.readline, "")
        assert not has_turn(store)
    finally:
        holder.kill()
        holder.communicate()
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not has_turn(store):  # the server notices soon
        assert time.monotonic() < give_up_at, "the turn of a process that is gone is not given back"
