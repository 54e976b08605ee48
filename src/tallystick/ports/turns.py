"""Work that one process at a time does, however many there are."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Turn(StrEnum):
    """What is done by one at a time. Each is safe to do twice at once, but to no use."""

    APPLYING = "applying"
    """Making Stripe's catalog what is declared."""
    CONFIRMING = "confirming"
    """Looking for delivered reports in Stripe's totals."""
    PLANNING = "planning"
    """Turning measured usage into reports."""
    REJECTING = "rejecting"
    """Matching Stripe's error reports with ours."""
    ROLLING = "rolling"
    """Rolling up days that are over."""
    SYNCING = "syncing"
    """Reading the account into the mirror, in full or what changed."""


class Turns(Protocol):
    """Whose turn it is."""

    def take(self, turn: Turn) -> AbstractContextManager[bool]:
        """Return whether the turn is the caller's, until the block ends.

        It is not while somebody else has it, in whichever process; nobody waits. A process that
        dies gives its turns back.

        Raises:
            StoreUnavailable: nobody can tell now.
        """
        ...
