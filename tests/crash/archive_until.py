"""Runs of `archive run` or `restore`, or of rolling days up, that kill themselves, each one step
later than the last one.

`python -m tests.crash.archive_until FOLDER run`: copies FOLDER/start to FOLDER/0, FOLDER/1, ...,
and archives each in a process of its own, which ends with SIGKILL before or after a step: the next
gets one step further, until one gets through. Prints where each died, one a line.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tallystick.config import Settings
from tallystick.pipeline import archive as pipeline
from tallystick.storage.archive import parquet
from tallystick.storage.sqlite import archive_ledger, day_rollups
from tallystick.wiring import Tallystick
from tests.contract.archiving import archive_everything, archiver_of
from tests.contract.backends import NOW
from tests.fixtures.clock import FakeClock

STEPS: list[tuple[Any, str]] = [
    (parquet, "_write_table"),
    (parquet, "_digest"),
    (parquet, "_compare"),
    (parquet, "_flush"),
    (Path, "rename"),
    (archive_ledger, "merge_upto"),  # inside of the transaction, as the next one
    (archive_ledger, "_count_dropped"),
    (archive_ledger.SqliteArchiveLedger, "keep"),
    (archive_ledger.SqliteArchiveLedger, "drop"),
    (archive_ledger.SqliteArchiveLedger, "restore"),
    (day_rollups, "_roll"),  # inside of the transaction
    (day_rollups.SqliteDayRollups, "begin"),
    (day_rollups.SqliteDayRollups, "step"),
]
"""What a run does one after the other; it may die before and after each, every time."""

BATCH = 40


def settings_of(folder: Path) -> Settings:
    """Return the settings of an installation in a folder."""
    return Settings(
        database_url=f"sqlite:///{folder / 'tallystick.db'}", archive_folder=str(folder / "archive")
    )


class Steps:
    """Counts steps, and kills the process at one of them."""

    def __init__(self, deadly: int, note: Path) -> None:
        self._deadly = deadly
        self._note = note
        self._passed = 0

    def reach(self, name: str) -> None:
        """Pass a step, or die there."""
        if self._passed == self._deadly:
            self._note.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)
        self._passed += 1

    def around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same step, which may be the last one."""

        def passed(*arguments: Any, **named: Any) -> Any:
            self.reach(f"before {step.__name__}")
            outcome = step(*arguments, **named)
            self.reach(f"after {step.__name__}")
            return outcome

        return passed


def run_until(folder: Path, what: str, deadly: int) -> None:
    """Archive everything in the folder's database, restore it or roll it up; die at a step."""
    steps = Steps(deadly, folder / "died")
    pipeline.DROP_BATCH = archive_ledger.RESTORE_BATCH = BATCH
    for name in ("CUSTOMERS_AT_ONCE", "STALE_AT_ONCE"):
        setattr(day_rollups, name, 1)
    for owner, name in STEPS:
        setattr(owner, name, steps.around(getattr(owner, name)))
    with Tallystick(settings_of(folder), FakeClock(NOW)) as product:
        if what == "run":
            archive_everything(product)
        elif what == "roll":
            product.day_roller.keep_up()
        else:
            restore_everything(product)


def restore_everything(product: Tallystick) -> None:
    """Put every archived day back."""
    archiver = archiver_of(product)
    for day_at in archiver.archived_days(0, NOW):
        assert not archiver.restore(day_at).findings


def main() -> None:
    """Run again and again."""
    folder, what = Path(sys.argv[1]), sys.argv[2]
    deadly = 0
    while True:
        copy = folder / str(deadly)
        shutil.copytree(folder / "start", copy)
        child = os.fork()
        if not child:
            run_until(copy, what, deadly)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
        sys.stdout.write((copy / "died").read_text() + "\n")
        deadly += 1
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
