"""A `tallystick` command that kills itself at a named point.

`python -m tests.crash.die_at POINT NUMBER COMMAND...`: runs the command, and ends it with SIGKILL
when the point is passed for the NUMBERth time. The points are calls of the product, before or after
them; the product knows nothing of it. Settings come from the environment.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from tallystick.cli.main import main
from tallystick.storage.sqlite import database, identities
from tallystick.storage.sqlite.archived_events import StoreConnection


class Call(NamedTuple):
    """A call of the product: a module, and what to take from it, attribute by attribute."""

    module: str
    path: str
    is_after: bool


def before(module: str, path: str) -> Call:
    """Name the moment before a call."""
    return Call(f"tallystick.{module}", path, is_after=False)


def after(module: str, path: str) -> Call:
    """Name the moment after a call."""
    return Call(f"tallystick.{module}", path, is_after=True)


_EVENTS = "storage.sqlite.events"

SERVER_POINTS = {
    "before append": before(_EVENTS, "_LogWriter.append_all"),
    "between log and rollups": before("storage.sqlite.rollups", "Folding.write"),
    "between rollups and history": before(_EVENTS, "keep_history"),
    "after append, before commit": after(_EVENTS, "_LogWriter.append_all"),
    "in the middle of an identity merge": after("storage.sqlite.identities", "_Merge.step"),
    "before acknowledge, after commit": after("api.group_append", "GroupAppend.append"),
    "before a checkpoint": before("storage.sqlite.database", "_checkpoint"),
    "after a checkpoint": after("storage.sqlite.database", "_checkpoint"),
    "between a correction and its hour": before("storage.sqlite.corrections", "_fold_hour"),
    "after a correction, before commit": after("storage.sqlite.corrections", "correct_event"),
}
"""Points of a server that takes events and corrections."""

CHECKPOINT_POINTS = ("before a checkpoint", "after a checkpoint")
"""Those of them that a server also passes by itself, once a second: they count from its first
events on, or a server that is slow to start would not live to take any.
"""

COMMIT_POINTS = ("before commit", "after commit, before anybody knows")
"""Points around SQLite's own commit of the writer."""

IMPORT_POINTS = {
    "before a batch": before("client.connection", "ServerConnection.post_events"),
    "after a batch": after("client.connection", "ServerConnection.post_events"),
    "between refused rows and position": after("cli.import_position", "RefusedRows.save"),
    "while the position is written": after("cli.import_position", "json.dump"),
    "between the position and its folder": before("cli.import_position", "_sync_folder"),
    "after the position": after("cli.import_position", "PositionFile.save"),
    "before the position is removed": before("cli.import_position", "PositionFile.remove"),
    "after the position is removed": after("cli.import_position", "PositionFile.remove"),
}
"""Points of an import."""


class Death:
    """Counts how often the point is passed, and dies in time."""

    def __init__(self, number: int) -> None:
        self._left = number

    def reach(self) -> None:
        """Pass the point."""
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


class LaterDeath(Death):
    """Begins to count once it is told to."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._counts = False

    def begin(self) -> None:
        """Count from now on."""
        self._counts = True

    def reach(self) -> None:
        """Pass the point."""
        if self._counts:
            super().reach()


def arm(call: Call, reach: Callable[[], None]) -> None:
    """Replace a call by one that passes the point."""
    owner: Any = import_module(call.module)
    *path, name = call.path.split(".")
    for part in path:
        owner = getattr(owner, part)
    inner = getattr(owner, name)

    def mortal(*arguments: Any, **named: Any) -> Any:
        if not call.is_after:
            reach()
        outcome = inner(*arguments, **named)
        if call.is_after:
            reach()
        return outcome

    async def mortal_async(*arguments: Any, **named: Any) -> Any:
        outcome = await inner(*arguments, **named)
        reach()
        return outcome

    setattr(owner, name, mortal_async if call.path == "GroupAppend.append" else mortal)


def arm_commit(point: str, death: Death) -> None:
    """Let the writer's connection pass the point around those commits that store events."""

    class MortalConnection(StoreConnection):
        has_events = False

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if "INSERT INTO usage_events" in sql or "INSERT INTO event_corrections" in sql:
                self.has_events = True
            is_commit = sql == "COMMIT" and self.has_events
            if is_commit and point == COMMIT_POINTS[0]:
                death.reach()
            cursor = super().execute(sql, *parameters)
            if is_commit:
                self.has_events = False
                if point == COMMIT_POINTS[1]:
                    death.reach()
            return cursor

    setattr(database, "StoreConnection", MortalConnection)  # noqa: B010 - for this process


def run() -> None:
    """Arm the point and run the command."""
    point, number, *command = sys.argv[1:]
    identities.GATHERED_MAX = 40  # so that merges happen in a short life
    identities.STEP = 8
    if point in COMMIT_POINTS:
        arm_commit(point, Death(int(number)))
    elif point in CHECKPOINT_POINTS:
        later = LaterDeath(int(number))
        arm(SERVER_POINTS["after append, before commit"], later.begin)
        arm(SERVER_POINTS[point], later.reach)
    else:
        arm({**SERVER_POINTS, **IMPORT_POINTS}[point], Death(int(number)).reach)
    sys.argv[1:] = command
    main()


if __name__ == "__main__":
    run()
