"""Raw events that left the database: the files that hold them, and the ledger of those files.

An archived event is as much there as any other: whoever reads events reads both. Rollups and
identities never leave the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from decimal import Decimal

    from tallystick.domain.periods import Period
    from tallystick.ports.event_store import StoredEvent


class ArchivedPart(NamedTuple):
    """One file with events of one UTC day; it never changes.

    Parts of a day are numbered from 1; what arrives late for the day makes another one.
    ``checksum`` is the SHA-256 of the file in hexadecimal digits, ``file`` its path within the
    archive.
    """

    day_at: int
    number: int
    file: str
    event_count: int
    first_seq: int
    last_seq: int
    size_bytes: int
    checksum: str


class HourKey(NamedTuple):
    """The events of one type and customer in one UTC hour."""

    hour_at: int
    event_type: str
    customer: str


class HourTotal(NamedTuple):
    """How many of them count, and the exact sum of what they count for."""

    event_count: int
    total: Decimal


Corrected = dict[int, "Decimal | None"]
"""What corrected events count for after all, by ``seq``; None: for nothing."""


class Archive(Protocol):
    """The files. Every method that reads raises ArchiveDamaged, which names the file, where it is
    missing or cannot be read.
    """

    def write(self, day_at: int, number: int, events: Iterable[StoredEvent]) -> ArchivedPart:
        """Write events of one day to a new file; durable, and read back, when it returns.

        The events are of different ``seq``, at least one. Written again, the same events make the
        same file; no file is ever replaced by another content or removed.

        Raises:
            ArchiveUnavailable: the file cannot be written (permissions, full disk).
            ArchiveDamaged: what was read back is not what was written.
        """
        ...

    def events(self, part: ArchivedPart) -> Iterator[StoredEvent]:
        """Return the part's events in the order of ``seq``, as they were sent."""
        ...

    def hour(self, part: ArchivedPart, key: HourKey) -> list[StoredEvent]:
        """Return the part's events of an hour, type and customer."""
        ...

    def find(self, part: ArchivedPart, seq: int) -> StoredEvent | None:
        """Return the part's event of this ``seq``."""
        ...

    def seqs(self, part: ArchivedPart) -> list[int]:
        """Return the ``seq`` of each of the part's events, in order."""
        ...

    def totals(
        self, part: ArchivedPart, corrected: Mapping[int, Decimal | None]
    ) -> dict[HourKey, HourTotal]:
        """Return what the part's events count for, hour by hour; ``corrected`` may name others."""
        ...

    def check(self, part: ArchivedPart) -> None:
        """Read all of the file, and compare its checksum, size and number of events.

        Raises:
            ArchiveDamaged: it differs, or is missing.
        """
        ...


class ArchivableDay(Protocol):
    """A UTC day as the database has it, from one moment."""

    def customers(self) -> list[str]:
        """Return whose events are in the database, in order."""
        ...

    def events(self, customers: Sequence[str]) -> Iterator[StoredEvent]:
        """Return the events of these customers: by customer, then by time, then by ``seq``."""
        ...

    def rollups(self) -> dict[HourKey, HourTotal]:
        """Return every hour's rollup: what its events come to, archived or not."""
        ...

    def corrected(self) -> Corrected:
        """Return the corrections in force of the day's events, and of others perhaps."""
        ...


class LedgerPart(NamedTuple):
    """A part, and how many of its events are deleted from the database by now.

    Its events are read from the archive whether they are or not.
    """

    part: ArchivedPart
    dropped_count: int

    @property
    def is_dropped(self) -> bool:
        """Whether all are."""
        return self.dropped_count == self.part.event_count


class ArchiveLedger(Protocol):
    """Which events have left the database."""

    def days(self, before_at: int) -> list[int]:
        """Return the UTC days, over before the instant, that have events in the database."""
        ...

    def day(
        self, day_at: int, *, only_noticed: bool = True
    ) -> AbstractContextManager[ArchivableDay]:
        """Return a day, valid inside the block.

        ``only_noticed`` leaves out the hours of customers in which something is stored that was not
        looked at yet for what is due to be reported: it may not leave.
        """
        ...

    def unsettled(self) -> dict[str, list[Period]]:
        """Return, by customer, the billing periods that have a report which is on its way, not
        verified, or waits for a decision.
        """
        ...

    def parts(self, from_at: int | None = None, to_at: int | None = None) -> list[LedgerPart]:
        """Return the parts of the days in ``[from_at, to_at)``, by day and number."""
        ...

    def keep(self, parts: Sequence[ArchivedPart], now: int) -> None:
        """Write down parts: from now on their events are read from the archive.

        All or nothing. What their events need to be known as duplicates for ever is durable before.

        Raises:
            ArchiveTaken: a part of that day and number is known: another run was faster.
        """
        ...

    def drop(self, part: ArchivedPart, seqs: Sequence[int]) -> None:
        """Delete these events of a part, which was written down, from the database."""
        ...

    def restore(self, day_at: int) -> int:
        """Put a day's events back into the database as they were; return how many.

        Ended in the middle and begun again, it goes on. The files stay where they are.
        """
        ...
