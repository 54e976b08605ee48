"""The short form of `make chaos`, in both ways of reporting to a meter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.__main__ import WAYS, print_tally
from tests.chaos.run import ACKNOWLEDGED_MIN, Chaos
from tests.fixtures.seeds import chosen_seed

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 10
KILLS = 3


@pytest.mark.parametrize("way", WAYS)
def test_kills_and_faults_change_no_total(way: str, tmp_path: Path) -> None:
    seed = chosen_seed()
    tally = Chaos(tmp_path, seed).run(SECONDS, KILLS, way)
    print_tally(tally, seed)
    assert tally.differences == []
    assert tally.restarts == KILLS
    assert tally.acknowledged >= ACKNOWLEDGED_MIN
    assert sum(tally.faults.values()) > 0
    assert tally.reported >= len(WAYS)


def test_kills_among_servers_and_workers_of_one_database_change_no_total(
    tmp_path: Path, postgres_url: str
) -> None:
    seed = chosen_seed()
    tally = Chaos(tmp_path, seed, postgres_url).run(SECONDS, KILLS, WAYS[0])
    print_tally(tally, seed)
    assert tally.differences == []
    assert tally.restarts == KILLS
    assert tally.acknowledged >= ACKNOWLEDGED_MIN
    assert sum(tally.faults.values()) > 0
    assert tally.reported > 0
