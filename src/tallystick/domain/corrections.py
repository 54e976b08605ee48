"""Corrections: what an event counts for after all, beside the event, which stays as it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

REASON_CHARS_MAX = 1_000
"""Characters of a reason, and of an actor."""


@dataclass(frozen=True, slots=True)
class Correction:
    """An event counts for ``value`` from now on, or for nothing if that is None: it is void.

    ``actor`` is who decided it. A later correction of the same event takes its place.
    """

    source: str
    id: str
    value: Decimal | None
    actor: str
    reason: str


class CorrectionStatus(StrEnum):
    """What became of a correction."""

    CORRECTED = "corrected"
    """It is in force; usage was counted again."""
    UNCHANGED = "unchanged"
    """The event counts for that already."""
    NOT_FOUND = "not_found"
    """No such event is stored."""
