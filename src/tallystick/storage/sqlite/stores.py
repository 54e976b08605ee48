"""Opens a SQLite file, with every store on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tallystick.storage.api_keys import StoredApiKeys
from tallystick.storage.inbox import StoredInbox, StoredInboxReader, StoredMeterErrors
from tallystick.storage.installation import StoredInstallation
from tallystick.storage.outbox import StoredOutbox, StoredReportBook
from tallystick.storage.period_book import StoredPeriodBook
from tallystick.storage.sqlite import outbox
from tallystick.storage.sqlite.archive_ledger import SqliteArchiveLedger
from tallystick.storage.sqlite.catalog import SqliteCatalogStore
from tallystick.storage.sqlite.counted_events import SqliteCountedEvents
from tallystick.storage.sqlite.customers import SqliteCustomerDirectory
from tallystick.storage.sqlite.database import SqliteDatabase
from tallystick.storage.sqlite.day_rollups import SqliteDayRollups
from tallystick.storage.sqlite.events import SqliteEventStore
from tallystick.storage.sqlite.lateness import SqliteLatenessBook
from tallystick.storage.sqlite.migrations import migrate
from tallystick.storage.sqlite.mirror import SqliteMirror
from tallystick.storage.sqlite.sent_writes import SentApiKeys, SentEventStore, SentInbox
from tallystick.storage.sqlite.turns import SqliteTurns
from tallystick.storage.sqlite.usage import SqliteUsageReader
from tallystick.storage.sqlite.verification import SqliteSnapshotReader
from tallystick.storage.stores import Stores
from tallystick.storage.stuck_reports import StoredConfirmations, StoredStuckReports
from tallystick.storage.sync import StoredSyncLedger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tallystick.ports.archive import Archive
    from tallystick.storage.sqlite.sent_writes import WriteClient


def open_sqlite(
    path: Path, archive: Callable[[], Archive], now: int, writer: WriteClient | None = None
) -> Stores:
    """Bring the file up to this version, making it if there is none, and open it; events, webhooks
    and the use of keys are written by the ``writer``, if there is one.

    Raises:
        StoreUnusable: it is not a database, cannot be written, or was made by a newer or altered
            version.
        StoreUnavailable: another process holds it locked.
    """
    migrate(path, now)
    database = SqliteDatabase(path, archive)
    try:
        stores = _stores(database, path, now)
    except BaseException:
        database.close()  # or its threads would keep a process that gives up alive
        raise
    if writer is None:
        return stores
    return replace(
        stores,
        events=SentEventStore(database, writer),
        inbox=SentInbox(database, writer),
        api_keys=SentApiKeys(database, writer),
    )


def _stores(database: SqliteDatabase, path: Path, now: int) -> Stores:
    catalog = SqliteCatalogStore(database)
    mirror = SqliteMirror(database)
    sync_ledger = StoredSyncLedger(database)
    return Stores(
        database=database,
        installation=StoredInstallation(database, now),
        turns=SqliteTurns(path),
        api_keys=StoredApiKeys(database),
        events=SqliteEventStore(database),
        usage=SqliteUsageReader(database),
        day_rollups=SqliteDayRollups(database),
        counted_events=SqliteCountedEvents(database),
        lateness=SqliteLatenessBook(database),
        catalog=catalog,
        record_prices=catalog,
        customers=SqliteCustomerDirectory(database, mirror, sync_ledger),
        book=StoredReportBook(database, outbox),
        period_book=StoredPeriodBook(database, outbox),
        outbox=StoredOutbox(database, outbox),
        confirmations=StoredConfirmations(database, outbox),
        stuck_reports=StoredStuckReports(database, outbox),
        mirror=mirror,
        sync_ledger=sync_ledger,
        inbox=StoredInbox(database),
        inbox_reader=StoredInboxReader(database),
        meter_errors=StoredMeterErrors(database),
        archive_ledger=SqliteArchiveLedger(database),
        snapshots=SqliteSnapshotReader(database),
    )
