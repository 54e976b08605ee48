"""All stores of one open database, by the ports that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tallystick.ports.api_keys import ApiKeys
    from tallystick.ports.archive import ArchiveLedger
    from tallystick.ports.counted_events import CountedEvents
    from tallystick.ports.day_rollups import DayRollups
    from tallystick.ports.directory import (
        CatalogStore,
        CustomerDirectory,
        Installation,
        RecordPrices,
    )
    from tallystick.ports.event_store import EventStore, UsageReader
    from tallystick.ports.inbox import Inbox, InboxReader, MeterErrors
    from tallystick.ports.lateness import LatenessBook
    from tallystick.ports.mirror import Mirror, SyncLedger
    from tallystick.ports.outbox import (
        Confirmations,
        Outbox,
        PeriodBook,
        ReportBook,
        StuckReports,
    )
    from tallystick.ports.turns import Turns
    from tallystick.ports.verification import SnapshotReader


class OpenDatabase(Protocol):
    """A database that is open."""

    def close(self) -> None:
        """Finish the work that waits, then close every connection."""
        ...


@dataclass(frozen=True)
class Stores:
    """Every store on one database; who closes the database closes them all."""

    database: OpenDatabase
    installation: Installation
    turns: Turns
    api_keys: ApiKeys
    events: EventStore
    usage: UsageReader
    day_rollups: DayRollups
    counted_events: CountedEvents
    lateness: LatenessBook
    catalog: CatalogStore
    record_prices: RecordPrices
    customers: CustomerDirectory
    book: ReportBook
    period_book: PeriodBook
    outbox: Outbox
    confirmations: Confirmations
    stuck_reports: StuckReports
    mirror: Mirror
    sync_ledger: SyncLedger
    inbox: Inbox
    inbox_reader: InboxReader
    meter_errors: MeterErrors
    archive_ledger: ArchiveLedger
    snapshots: SnapshotReader
