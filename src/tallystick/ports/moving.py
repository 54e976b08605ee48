"""A whole database that moves into another one: what is read, and where it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Row = tuple[Any, ...]

TABLES = (
    "installation",
    "report_notices",
    "api_keys",
    "meters",
    "event_sources",
    "prices",
    "applied_catalogs",
    "selections",
    "customer_links",
    "archive_parts",
    "usage_events",
    "event_identities",
    "event_corrections",
    "usage_rollups",
    "lateness_marks",
    "event_delays",
    "report_due",
    "usage_reports",
    "report_totals",
    "report_decisions",
    "inbox_events",
    "meter_errors",
    "mirror_objects",
    "mirror_prices",
    "mirror_items",
    "item_pasts",
    "item_billed",
    "customer_readings",
    "sync_state",
    "sync_steps",
)
"""What moves, in this order, by the target's names."""


class MovingSource(Protocol):
    """A database that nobody writes to meanwhile."""

    def fingerprint(self) -> str:
        """Return what differs as soon as anything in the database does."""
        ...

    def counts(self) -> dict[str, int]:
        """Return how many rows each table has."""
        ...

    def rows(self, table: str) -> Iterator[Row]:
        """Return a table's rows as the target's columns, always in the same order."""
        ...


class MovingTarget(Protocol):
    """A database that is filled, batch by batch; each batch is there once, whatever happens."""

    def begin(self, fingerprint: str, now: int) -> bool:
        """Make ready for the source with this fingerprint; return whether some of it is here.

        Raises:
            TargetInUse: there is something else in it, or an older state of the source.
        """
        ...

    def copied(self, table: str) -> int:
        """Return how many of a table's rows are here."""
        ...

    def add(self, table: str, rows: Sequence[Row]) -> None:
        """Write the next rows of a table, all or none."""
        ...

    def finish(self, now: int) -> None:
        """Open the database for use: all is here."""
        ...
