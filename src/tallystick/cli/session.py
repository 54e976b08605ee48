"""What every command does first: settings, and the product on its database.

The product is imported when a command runs, so that ``--help`` needs nothing of the server.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.config import Settings
    from tallystick.ports.turns import Turn
    from tallystick.wiring import Tallystick

TURN_WAITS_MAX = 150
TURN_WAIT_SECONDS = 0.2
"""Half a minute in all: a worker's sweep ends meanwhile, and a full sync does not."""


class InputError(ValueError):
    """Something that was typed and cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def settings() -> Settings:
    """Return the settings in force."""
    from tallystick.config import load_settings

    return load_settings()


def log_warnings() -> None:
    """Send warnings to standard error, unless a server has its logs configured: what a command
    prints is the answer alone.
    """
    import structlog

    from tallystick.observability.logs import configure_logs

    if not structlog.is_configured():
        configure_logs("warning")


@contextmanager
def opened() -> Iterator[Tallystick]:
    """Return the product on the database that the settings name; it must have been made.

    Raises:
        InputError: there is no such database.
    """
    from tallystick.wiring import Tallystick, has_database

    log_warnings()
    found = settings()
    if not has_database(found):
        raise InputError(
            "no_database", f"there is no database {found.database_name}; `tallystick init` makes it"
        )
    with Tallystick(found) as product:
        yield product


@contextmanager
def in_turn(product: Tallystick, turn: Turn) -> Iterator[None]:
    """Have a turn inside the block; whoever has it is waited for a while.

    Raises:
        InputError: another process has it still.
    """
    for _ in range(TURN_WAITS_MAX):
        with product.turns.take(turn) as is_ours:
            if is_ours:
                yield
                return
        product.clock.pause(TURN_WAIT_SECONDS)
    raise InputError("busy", f"another process is {turn} already; try again when it has ended")
