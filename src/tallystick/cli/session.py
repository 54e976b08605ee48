"""What every command does first: settings, and the product on its database.

The product is imported when a command runs, so that ``--help`` needs nothing of the server.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.config import Settings
    from tallystick.wiring import Tallystick


class InputError(ValueError):
    """Something that was typed and cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def settings() -> Settings:
    """Return the settings in force."""
    from tallystick.config import load_settings

    return load_settings()


@contextmanager
def opened() -> Iterator[Tallystick]:
    """Return the product on the database that the settings name; it must have been made.

    Raises:
        InputError: there is no such database.
    """
    from tallystick.wiring import Tallystick, has_database

    found = settings()
    if not has_database(found):
        raise InputError(
            "no_database", f"there is no database {found.database_name}; `tallystick init` makes it"
        )
    with Tallystick(found) as product:
        yield product
