"""The outbox as people and programs see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import SECOND_US, format_instant

if TYPE_CHECKING:
    from tallystick.ports.outbox import Outbox


def depth_view(outbox: Outbox, now: int) -> dict[str, Any]:
    """Return depth and age of what waits, what is not confirmed yet, and every state's count."""
    depth = outbox.depth()
    return {
        "pending": depth.pending,
        "oldest_pending_seconds": _age_seconds(depth.oldest_at, now),
        "first_closes_at": None if depth.closes_at is None else format_instant(depth.closes_at),
        "unverified": depth.unverified,
        "oldest_unverified_seconds": _age_seconds(depth.unverified_since, now),
        "states": outbox.counts(),
    }


def _age_seconds(since: int | None, now: int) -> int | None:
    return None if since is None else max(0, now - since) // SECOND_US
