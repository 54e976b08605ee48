"""Turns at writing to one SQLite file: in order, given back by the dead, not waited for forever."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.events import EventStatus
from tallystick.ports.errors import StoreUnavailable
from tallystick.storage.sqlite import write_turns
from tallystick.storage.sqlite.write_turns import WriteTurns
from tests.contract.test_sqlite_trouble import NOW, some_events
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.config import Settings
    from tallystick.wiring import Tallystick


@pytest.fixture
def path(settings: Settings, product: Tallystick) -> Path:
    """The file of an open database."""
    return settings.sqlite_path()


@pytest.fixture
def others(path: Path) -> Iterator[WriteTurns]:
    """The turns as another process has them."""
    turns = WriteTurns(path)
    yield turns
    turns.close()


def wait_until_somebody_is_next(path: Path) -> None:
    with path.with_name(f"{path.name}-next.lock").open("ab") as file:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(0.001)
    raise AssertionError("nobody is next")


def test_who_has_written_lets_the_one_write_that_waits(
    product: Tallystick, path: Path, others: WriteTurns
) -> None:
    stored: list[int] = []

    def write_again() -> None:
        with third.turn():
            stored.append(product.events.count())

    third = WriteTurns(path)
    again = threading.Thread(target=write_again)
    with others.turn():
        waiting = product.events.append(some_events(0, 5), NOW)
        wait_until_somebody_is_next(path)
        again.start()  # as the one in its turn would: it has more to write
    assert waiting.result(PATIENCE_SECONDS) == [EventStatus.ACCEPTED] * 5
    again.join(PATIENCE_SECONDS)
    third.close()
    assert stored == [5]


def test_a_turn_that_is_not_given_back_is_an_error_and_no_wait_for_ever(
    product: Tallystick, others: WriteTurns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_turns, "TRIES_MAX", 20)
    with others.turn(), pytest.raises(StoreUnavailable, match="nothing was stored"):
        product.events.append(some_events(0, 5), NOW).result(PATIENCE_SECONDS)
    monkeypatch.undo()
    assert (
        product.events.append(some_events(0, 5), NOW).result(PATIENCE_SECONDS)
        == [EventStatus.ACCEPTED] * 5
    )


def test_who_dies_in_its_turn_gives_it_back(product: Tallystick, path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from tallystick.storage.sqlite.write_turns import WriteTurns\n"
        "with WriteTurns(pathlib.Path(sys.argv[1])).turn():\n"
        "    print('mine', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    dying = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert dying.stdout
    assert dying.stdout.readline() == b"mine\n"
    waiting = product.events.append(some_events(0, 5), NOW)
    wait_until_somebody_is_next(path)
    assert not waiting.done()
    dying.kill()
    dying.communicate()
    assert waiting.result(PATIENCE_SECONDS) == [EventStatus.ACCEPTED] * 5
