"""The short form of `python -m tests.crash.chaos`: a few kills at random moments under load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.crash.chaos import Chaos
from tests.fixtures.seeds import chosen_seed

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 3


def test_nothing_acknowledged_is_lost_or_doubled_when_the_server_is_killed(tmp_path: Path) -> None:
    seed = chosen_seed()
    chaos = Chaos(tmp_path, seed)
    assert chaos.run(KILLS) == [], f"SEED={seed} repeats the clients and the moments of the kills"
    assert chaos.acknowledged
