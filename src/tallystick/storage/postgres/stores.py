"""Opens a PostgreSQL database, with every store on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.ports.errors import PortError
from tallystick.storage.api_keys import StoredApiKeys
from tallystick.storage.customers import StoredCustomerDirectory
from tallystick.storage.inbox import StoredInbox, StoredInboxReader
from tallystick.storage.installation import StoredInstallation
from tallystick.storage.outbox import StoredOutbox, StoredReportBook
from tallystick.storage.period_book import StoredPeriodBook
from tallystick.storage.postgres import outbox
from tallystick.storage.postgres.archive_ledger import PostgresArchiveLedger
from tallystick.storage.postgres.catalog import PostgresCatalogStore
from tallystick.storage.postgres.counted_events import PostgresCountedEvents
from tallystick.storage.postgres.database import PostgresDatabase
from tallystick.storage.postgres.day_rollups import PostgresDayRollups
from tallystick.storage.postgres.events import PostgresEventStore
from tallystick.storage.postgres.inbox import PostgresMeterErrors
from tallystick.storage.postgres.lateness import PostgresLatenessBook
from tallystick.storage.postgres.migrations import migrate
from tallystick.storage.postgres.mirror import PostgresMirror
from tallystick.storage.postgres.moving import refuse_unfinished
from tallystick.storage.postgres.partitions import make_partitions
from tallystick.storage.postgres.turns import PostgresTurns
from tallystick.storage.postgres.usage import PostgresUsageReader
from tallystick.storage.postgres.verification import PostgresSnapshotReader
from tallystick.storage.stores import Stores
from tallystick.storage.stuck_reports import StoredConfirmations, StoredStuckReports
from tallystick.storage.sync import StoredSyncLedger

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallystick.ports.archive import Archive


def open_postgres(url: str, archive: Callable[[], Archive], now: int) -> Stores:
    """Bring the database's schema up to this version and open it.

    Raises:
        StoreUnavailable: the server does not answer now.
        StoreUnusable: it refuses us, or the database was made by a newer or altered version.
    """
    migrate(url, now)
    database = PostgresDatabase(url, archive)
    try:
        refuse_unfinished(database)
        make_partitions(database, now).result()
    except PortError:
        database.close()
        raise
    return stores_on(database, url, now)


def stores_on(database: PostgresDatabase, url: str, now: int) -> Stores:
    """Return every store on a database that is open."""
    catalog = PostgresCatalogStore(database)
    mirror = PostgresMirror(database)
    sync_ledger = StoredSyncLedger(database)
    return Stores(
        database=database,
        installation=StoredInstallation(database, now),
        turns=PostgresTurns(url),
        api_keys=StoredApiKeys(database),
        events=PostgresEventStore(database),
        usage=PostgresUsageReader(database),
        day_rollups=PostgresDayRollups(database),
        counted_events=PostgresCountedEvents(database),
        lateness=PostgresLatenessBook(database),
        catalog=catalog,
        record_prices=catalog,
        customers=StoredCustomerDirectory(database, mirror, sync_ledger),
        book=StoredReportBook(database, outbox),
        period_book=StoredPeriodBook(database, outbox),
        outbox=StoredOutbox(database, outbox),
        confirmations=StoredConfirmations(database, outbox),
        stuck_reports=StoredStuckReports(database, outbox),
        mirror=mirror,
        sync_ledger=sync_ledger,
        inbox=StoredInbox(database),
        inbox_reader=StoredInboxReader(database),
        meter_errors=PostgresMeterErrors(database),
        archive_ledger=PostgresArchiveLedger(database),
        snapshots=PostgresSnapshotReader(database),
    )
