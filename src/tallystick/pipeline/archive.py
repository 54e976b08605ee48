"""Archive: days of raw events leave the database for files, are checked there, and come back.

A day leaves in steps, each durable before the next: its events are written to a file, which is read
back and held against the rollups; the file is written down, and is read from then on; only then the
events are deleted. Ended anywhere and begun again, nothing is lost or read twice.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.instants import DAY_US, HOUR_US, format_instant
from tallystick.domain.periods import Period
from tallystick.domain.quantity import ZERO, add_all, plain
from tallystick.ports.archive import HourKey, HourTotal
from tallystick.ports.errors import ArchiveDamaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tallystick.billing.archive_holds import ArchiveHolds, HoldReason
    from tallystick.ports.archive import (
        ArchivableDay,
        Archive,
        ArchivedPart,
        ArchiveLedger,
        Corrected,
        LedgerPart,
    )
    from tallystick.ports.clock import Clock
    from tallystick.ports.event_store import StoredEvent

PART_EVENTS_MAX = 500_000
"""Events of one file: bounds the memory that it is made and read in, to about half a gigabyte."""

DROP_BATCH = 5_000
"""Events deleted in one transaction: bounds how long ingest waits."""

FINDINGS_MAX = 20
"""Findings named per day; the rest is counted."""

Totals = dict[HourKey, HourTotal]


class DayArchived(NamedTuple):
    """What became of a day: what left with this run, and how many customers' events stayed, by
    reason; ``findings`` are why the day did not leave, if it should have.
    """

    day_at: int
    event_count: int = 0
    size_bytes: int = 0
    files: tuple[str, ...] = ()
    held: Mapping[HoldReason, int] = {}
    findings: tuple[str, ...] = ()
    failures: int = 0


class DayChecked(NamedTuple):
    """What was looked at of an archived day, and what does not hold."""

    day_at: int
    event_count: int
    files: tuple[str, ...]
    findings: tuple[str, ...]
    failures: int


class DayRestored(NamedTuple):
    """A day that is back in the database."""

    day_at: int
    event_count: int
    findings: tuple[str, ...]


class Archiver:
    """Moves days between the database and the archive."""

    def __init__(
        self,
        ledger: ArchiveLedger,
        archive: Callable[[], Archive],
        holds: ArchiveHolds,
        clock: Clock,
        retention_us: int,
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._holds = holds
        self._clock = clock
        self._retention_us = retention_us

    def days(self) -> list[int]:
        """Return the days that are past their retention and have events in the database."""
        return self._ledger.days(self._clock.now() - self._retention_us)

    def finish(self) -> None:
        """Delete from the database what a run that was ended early had written down.

        Raises:
            ArchiveDamaged: a file of those is missing or cannot be read; nothing of it is deleted.
        """
        for each in self._ledger.parts():
            if not each.is_dropped:
                self._archive().check(each.part)
                self._drop(each.part)

    def archive(self, day_at: int) -> DayArchived:
        """Let a day's events leave that may.

        Raises:
            ArchiveUnavailable: the file could not be written; nothing changed.
            ArchiveTaken: another run archives the day; nothing changed.
            StripeUnreachable, StripeRefused: a test clock could not be read; nothing changed.
        """
        with self._ledger.day(day_at) as day:
            self._holds.refresh()
            customers, held = self._sorted(day_at, day.customers())
            if not customers:
                return DayArchived(day_at, held=held)
            earlier = self._ledger.parts(day_at, day_at + DAY_US)
            parts = self._write(day_at, day.events(customers), len(earlier) + 1)
            findings = self._differences(day, [each.part for each in earlier], parts)
        if findings:
            return DayArchived(
                day_at,
                held=held,
                findings=tuple(findings[:FINDINGS_MAX]),
                failures=len(findings),
            )
        self._ledger.keep(parts, self._clock.now())
        for part in parts:
            self._drop(part)
        return DayArchived(
            day_at,
            sum(part.event_count for part in parts),
            sum(part.size_bytes for part in parts),
            tuple(part.file for part in parts),
            held,
        )

    def archived_days(self, first_at: int, last_at: int) -> list[int]:
        """Return the archived days from one to another."""
        parts = self._ledger.parts(first_at, last_at + DAY_US)
        return sorted({each.part.day_at for each in parts})

    def check(self, day_at: int) -> DayChecked:
        """Hold an archived day's files against their checksums, and its events against rollups."""
        with self._ledger.day(day_at, only_noticed=False) as day:
            parts = self._ledger.parts(day_at, day_at + DAY_US)
            findings = _damages(self._archive(), parts)
            if not findings:
                findings = self._all_differences(day, parts)
        return DayChecked(
            day_at,
            sum(each.part.event_count for each in parts),
            tuple(each.part.file for each in parts),
            tuple(findings[:FINDINGS_MAX]),
            len(findings),
        )

    def restore(self, day_at: int) -> DayRestored:
        """Put an archived day back into the database, after its files were checked."""
        parts = self._ledger.parts(day_at, day_at + DAY_US)
        findings = _damages(self._archive(), parts)
        if findings:
            return DayRestored(day_at, 0, tuple(findings))
        return DayRestored(day_at, self._ledger.restore(day_at), ())

    def _sorted(
        self, day_at: int, customers: Sequence[str]
    ) -> tuple[list[str], Counter[HoldReason]]:
        """Return whose events of the day may leave, and how many customers' must stay."""
        free = []
        held: Counter[HoldReason] = Counter()
        for customer in customers:
            reason = self._holds.reason(customer, Period(day_at, day_at + DAY_US))
            if reason is None:
                free.append(customer)
            else:
                held[reason] += 1
        return free, held

    def _write(self, day_at: int, events: Iterator[StoredEvent], number: int) -> list[ArchivedPart]:
        parts: list[ArchivedPart] = []
        for first in events:
            batch = chain([first], islice(events, PART_EVENTS_MAX - 1))
            parts.append(self._archive().write(day_at, number + len(parts), batch))
        return parts

    def _differences(
        self, day: ArchivableDay, earlier: Sequence[ArchivedPart], parts: Sequence[ArchivedPart]
    ) -> list[str]:
        """Return where the hours of the new parts are not what their rollups say."""
        new = self._totals(parts, day)
        both = _added(new, self._totals(earlier, day))
        rollups = day.rollups()
        return [
            _difference(key, rollups.get(key, _NOTHING), both[key])
            for key in sorted(new)
            if rollups.get(key, _NOTHING) != both[key]
        ]

    def _all_differences(self, day: ArchivableDay, parts: Sequence[LedgerPart]) -> list[str]:
        """Return where the day's events, wherever they are, are not what their rollups say."""
        archived = self._totals([each.part for each in parts], day)
        twice = {
            seq for each in parts if not each.is_dropped for seq in self._archive().seqs(each.part)
        }
        live = _totals_of(
            (stored for stored in day.events(day.customers()) if stored.seq not in twice),
            day.corrected(),
        )
        both = _added(archived, live)
        rollups = day.rollups()
        return [
            _difference(key, rollups.get(key, _NOTHING), both.get(key, _NOTHING))
            for key in sorted(both.keys() | rollups.keys())
            if rollups.get(key, _NOTHING) != both.get(key, _NOTHING)
        ]

    def _totals(self, parts: Iterable[ArchivedPart], day: ArchivableDay) -> Totals:
        totals: Totals = {}
        corrected = day.corrected()
        for part in parts:
            totals = _added(totals, self._archive().totals(part, corrected))
        return totals

    def _drop(self, part: ArchivedPart) -> None:
        seqs = self._archive().seqs(part)
        for start in range(0, len(seqs), DROP_BATCH):
            self._ledger.drop(part, seqs[start : start + DROP_BATCH])


_NOTHING = HourTotal(0, ZERO)


def _damages(archive: Archive, parts: Iterable[LedgerPart]) -> list[str]:
    """Return what is wrong with the files of some parts."""
    findings = []
    for each in parts:
        try:
            archive.check(each.part)
        except ArchiveDamaged as error:
            findings.append(str(error))
    return findings


def _added(one: Totals, other: Totals) -> Totals:
    added = dict(one)
    for key, total in other.items():
        known = added.get(key)
        added[key] = total if known is None else _sum(known, total)
    return added


def _sum(one: HourTotal, other: HourTotal) -> HourTotal:
    return HourTotal(one.event_count + other.event_count, add_all((one.total, other.total)))


def _totals_of(events: Iterable[StoredEvent], corrected: Corrected) -> Totals:
    totals: Totals = {}
    for stored in events:
        event = stored.event
        hour_at = event.occurred_at - event.occurred_at % HOUR_US
        key = HourKey(hour_at, event.type, event.customer)
        value = corrected.get(stored.seq, event.value)
        one = _NOTHING if value is None else HourTotal(1, value)
        totals[key] = _sum(totals.get(key, _NOTHING), one)
    return totals


def _difference(key: HourKey, rollup: HourTotal, events: HourTotal) -> str:
    return (
        f"hour {format_instant(key.hour_at)}, events of type {key.event_type}, customer "
        f"{key.customer}: rollup count {rollup.event_count} sum {plain(rollup.total)}, events "
        f"count {events.event_count} sum {plain(events.total)}"
    )
