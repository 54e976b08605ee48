"""The only file that names concrete backends: it builds the product out of its parts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from tallystick.billing.archive_holds import ArchiveHolds
from tallystick.billing.billing_periods import BillingPeriods
from tallystick.billing.dead_letters import DeadLetters
from tallystick.billing.inbox import InboxWorker
from tallystick.billing.linking import Linker
from tallystick.billing.recorded_items import RecordedItems
from tallystick.billing.stripe_mirror import StripeMirror
from tallystick.billing.synchronizing import Synchronizer
from tallystick.billing.unbilled_usage import UnbilledUsages
from tallystick.billing.usage_routes import UsageRouter
from tallystick.config import PREFIX, ConfigError, Settings
from tallystick.domain.instants import DAY_US
from tallystick.domain.reports import ReportWay
from tallystick.oversight.moving import Moved, compare, move
from tallystick.pipeline.archive import Archiver
from tallystick.pipeline.breaker import Breaker
from tallystick.pipeline.confirm import Confirmer
from tallystick.pipeline.corrections import Corrections
from tallystick.pipeline.day_rollups import DayRoller
from tallystick.pipeline.deliver import Deliverer
from tallystick.pipeline.ingest import Ingest
from tallystick.pipeline.lateness import LatenessTally
from tallystick.pipeline.placing import Placer
from tallystick.pipeline.planning import Planner
from tallystick.pipeline.rejections import Rejections
from tallystick.pipeline.report import Reporter
from tallystick.pipeline.resolve import Resolver
from tallystick.ports.clock import Clock, SystemClock
from tallystick.storage.sqlite.backup import Copied, back_up, restore
from tallystick.storage.sqlite.events import SqliteEventStore
from tallystick.storage.sqlite.moving import moving_source
from tallystick.storage.sqlite.sent_writes import WriteClient
from tallystick.storage.sqlite.stores import open_sqlite
from tallystick.storage.sqlite.write_service import WriteService
from tallystick.stripe_gateway.catalog import CatalogGateway
from tallystick.stripe_gateway.connection import StripeConnection
from tallystick.stripe_gateway.endpoints import WebhookEndpoints
from tallystick.stripe_gateway.objects import ObjectSource
from tallystick.stripe_gateway.readers import (
    AccountReader,
    InvoiceReader,
    SummaryReader,
)
from tallystick.stripe_gateway.rehearsal import Rehearsal
from tallystick.stripe_gateway.stream_sink import MeterEventStreamSink
from tallystick.stripe_gateway.usage_sink import MeterEventSink, UsageRecordSink

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from tallystick.domain.subscriptions import CustomerLink
    from tallystick.ports.api_keys import ApiKeys
    from tallystick.ports.archive import Archive, ArchiveLedger
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
    from tallystick.ports.stripe import UsageSink
    from tallystick.ports.turns import Turns
    from tallystick.ports.verification import SnapshotReader
    from tallystick.storage.stores import Stores


@dataclass(frozen=True)
class Stripe:
    """Everything that reaches Stripe."""

    accounts: AccountReader
    catalog: CatalogGateway
    endpoints: WebhookEndpoints
    invoices: InvoiceReader
    objects: ObjectSource
    rehearsal: Rehearsal
    summaries: SummaryReader
    usage: dict[ReportWay, UsageSink]


class Tallystick:
    """The product on one database. Close it, or use it as a context manager."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, writer: WriteClient | None = None
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.archive = cache(lambda: open_archive(settings))
        stores = open_stores(settings, self.archive, self.clock.now(), writer)
        self._database = stores.database
        self.installation: Installation = stores.installation
        self.turns: Turns = stores.turns
        self.events: EventStore = stores.events
        self.usage: UsageReader = stores.usage
        self.counted_events: CountedEvents = stores.counted_events
        self.day_rollups: DayRollups = stores.day_rollups
        self.catalog: CatalogStore = stores.catalog
        self.record_prices: RecordPrices = stores.record_prices
        self.customers: CustomerDirectory = stores.customers
        self.book: ReportBook = stores.book
        self.period_book: PeriodBook = stores.period_book
        self.outbox: Outbox = stores.outbox
        self.confirmations: Confirmations = stores.confirmations
        self.stuck_reports: StuckReports = stores.stuck_reports
        self.mirror: Mirror = stores.mirror
        self.sync_ledger: SyncLedger = stores.sync_ledger
        self.inbox: Inbox = stores.inbox
        self.inbox_reader: InboxReader = stores.inbox_reader
        self.meter_errors: MeterErrors = stores.meter_errors
        self.archive_ledger: ArchiveLedger = stores.archive_ledger
        self.snapshots: SnapshotReader = stores.snapshots
        self.breaker = Breaker(self.clock)
        self.api_keys: ApiKeys = stores.api_keys
        self.lateness: LatenessBook = stores.lateness
        self.lateness_tally = LatenessTally(self.lateness, self.catalog)
        self.day_roller = DayRoller(self.day_rollups, self.clock)
        self.corrections = Corrections(self.events, self.catalog, self.clock)
        self.ingest = Ingest(self.events, self.catalog, self.customers, self.clock)

    @cached_property
    def stripe(self) -> Stripe:
        """Stripe, after it was made sure that it is the account that this database belongs to.

        Raises:
            ConfigError: no key is set.
            StripeUnreachable, StripeRefused
            WrongAccount: the database belongs to another account or mode.
        """
        stripe = connect_stripe(self.settings, self.clock)
        self.installation.adopt(stripe.accounts.account())
        return stripe

    def billing_periods(self) -> BillingPeriods:
        """Return what is known of billing periods, for one run."""
        return BillingPeriods(
            self.mirror, self.sync_ledger, self.catalog, self.stripe_mirror, self.clock
        )

    @property
    def stripe_mirror(self) -> StripeMirror:
        """What reads Stripe's objects into the mirror."""
        return StripeMirror(self.mirror, self.stripe.objects, self.inbox, self.clock)

    @property
    def inbox_worker(self) -> InboxWorker:
        """What deals with the events that Stripe told."""
        return InboxWorker(
            inbox=self.inbox,
            mirror=self.mirror,
            stripe_mirror=self.stripe_mirror,
            source=self.stripe.objects,
            meter_errors=self.meter_errors,
            clock=self.clock,
            jitter=random.Random(),  # noqa: S311 - spreads retries, guards nothing
        )

    @property
    def linker(self) -> Linker:
        """What joins your customers to Stripe's."""
        return Linker(self.customers, self.mirror, self.stripe_mirror, self.clock)

    @property
    def synchronizer(self) -> Synchronizer:
        """What fills and repairs the mirror."""
        return Synchronizer(
            mirror=self.mirror,
            ledger=self.sync_ledger,
            inbox=self.inbox,
            inbox_reader=self.inbox_reader,
            source=self.stripe.objects,
            stripe_mirror=self.stripe_mirror,
            worker=self.inbox_worker,
            clock=self.clock,
        )

    @property
    def unbilled_usages(self) -> UnbilledUsages:
        """What finds usage that no billing period covers."""
        return UnbilledUsages(
            self.book, self.usage, self.catalog, self.customers, self.record_prices
        )

    @property
    def reporter(self) -> Reporter:
        """What plans reports."""
        router = UsageRouter(
            self.customers,
            self.record_prices,
            self.mirror,
            ReportWay(self.settings.stripe_meter_events),
        )
        return Reporter(
            book=self.book,
            period_book=self.period_book,
            usage=self.usage,
            catalog=self.catalog,
            customers=self.customers,
            router=router,
            periods=self.billing_periods,
            planner=Planner(self.book, self.counted_events, self.stuck_reports),
            placer=Placer(self.book, self.period_book, self.clock),
            clock=self.clock,
        )

    @property
    def deliverer(self) -> Deliverer:
        """What takes reports to Stripe."""
        jitter = random.Random()  # noqa: S311 - spreads retries, guards nothing
        resolver = Resolver(
            book=self.book,
            catalog=self.catalog,
            customers=self.customers,
            summaries=self.stripe.summaries,
            recorded=self.recorded_items,
            now_of=self.billing_periods().now_of,
            clock=self.clock,
        )
        return Deliverer(
            outbox=self.outbox,
            sinks=self.stripe.usage,
            resolver=resolver,
            breaker=self.breaker,
            clock=self.clock,
            jitter=jitter,
        )

    @property
    def confirmer(self) -> Confirmer:
        """What looks for delivered reports in Stripe's totals."""
        return Confirmer(
            confirmations=self.confirmations,
            book=self.book,
            catalog=self.catalog,
            summaries=self.stripe.summaries,
            recorded=self.recorded_items,
            clock=self.clock,
        )

    @property
    def recorded_items(self) -> RecordedItems:
        """What compares usage records with Stripe's figures of their items."""
        return RecordedItems(
            self.customers, self.catalog, self.record_prices, self.stripe.summaries
        )

    @property
    def rejections(self) -> Rejections:
        """What joins Stripe's error reports with ours."""
        return Rejections(self.meter_errors, self.confirmations, self.clock)

    @property
    def archiver(self) -> Archiver:
        """What moves days of events between the database and the archive; one serves one run."""
        holds = ArchiveHolds(
            ledger=self.archive_ledger,
            book=self.book,
            usage=self.usage,
            catalog=self.catalog,
            record_prices=self.record_prices,
            customers=self.customers,
            now_of=self._now_of,
        )
        retention_us = self.settings.retention_days * DAY_US
        return Archiver(self.archive_ledger, self.archive, holds, self.clock, retention_us)

    @property
    def dead_letters(self) -> DeadLetters:
        """What shows stuck reports and moves them on; Stripe is only asked for test clocks."""
        return DeadLetters(
            stuck=self.stuck_reports,
            book=self.book,
            usage=self.usage,
            catalog=self.catalog,
            customers=self.customers,
            now_of=self._now_of,
            clock=self.clock,
        )

    def _now_of(self, link: CustomerLink) -> int:
        """Return a customer's present; Stripe is only needed for one on a test clock."""
        is_ours = link.test_clock_id is None
        return self.clock.now() if is_ours else self.billing_periods().now_of(link)

    def write_service(self) -> WriteService:
        """Return what does the writes of other processes of this server, on SQLite."""
        assert isinstance(self.events, SqliteEventStore)
        return WriteService(self.events, self.inbox, self.api_keys)

    def close(self) -> None:
        """Finish what was begun and close the database."""
        self._database.close()

    def __enter__(self) -> Tallystick:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_stores(
    settings: Settings,
    archive: Callable[[], Archive],
    now: int,
    writer: WriteClient | None = None,
) -> Stores:
    """Open the database that the settings name; PostgreSQL's driver is only imported for it. On
    SQLite the ``writer`` does the writes that come often, if there is one.

    Raises:
        StoreUnavailable, StoreUnusable: it cannot be opened.
    """
    if not settings.is_postgres:
        return open_sqlite(settings.sqlite_path(), archive, now, writer)
    from tallystick.storage.postgres.stores import open_postgres

    return open_postgres(settings.database_url, archive, now)


def open_beside_writer(
    settings: Settings, connection: socket.socket, on_lost: Callable[[], None]
) -> Tallystick:
    """Open the product in a process that has another one write: one that serves the connection with
    its ``write_service``. ``on_lost`` is called, in a thread of its own, when that one is gone.
    """
    return Tallystick(settings, writer=WriteClient(connection, on_lost))


def has_database(settings: Settings) -> bool:
    """Tell whether the database that the settings name was made by `tallystick init`.

    Raises:
        StoreUnavailable, StoreUnusable: PostgreSQL does not answer, or refuses us.
    """
    if not settings.is_postgres:
        return settings.sqlite_path().exists()
    from tallystick.storage.postgres.migrations import is_installed

    return is_installed(settings.database_url)


def move_database(
    settings: Settings, database_url: str, note: Callable[[str, int, int], None]
) -> tuple[Moved, list[str]]:
    """Move the SQLite file that the settings name into a PostgreSQL database, and compare them.

    Returns what was moved and what differs; the target is open for use if nothing does.

    Raises:
        SourceInUse, TargetInUse
    """
    from tallystick.storage.postgres.database import PostgresDatabase
    from tallystick.storage.postgres.migrations import migrate
    from tallystick.storage.postgres.moving import PostgresTarget
    from tallystick.storage.postgres.verification import PostgresSnapshotReader

    now = SystemClock().now()
    archive = cache(lambda: open_archive(settings))
    with moving_source(settings.sqlite_path(), archive, now) as (source, snapshots, catalog):
        migrate(database_url, now)
        database = PostgresDatabase(database_url, archive)
        try:
            target = PostgresTarget(database)
            moved = move(source, target, note, now)
            there = PostgresSnapshotReader(database)
            with snapshots.snapshot() as ours, there.snapshot() as theirs:
                differences = compare(ours, theirs, catalog.meters())
            if not differences:
                target.finish(now)
        finally:
            database.close()
    return moved, differences


def open_archive(settings: Settings) -> Archive:
    """Return the archive that the settings name; Parquet is only imported for it."""
    from tallystick.storage.archive.parquet import ParquetArchive

    return ParquetArchive(settings.archive_path())


def back_up_database(settings: Settings, target: Path) -> Copied:
    """Copy the database that the settings name to a new file.

    Raises:
        StoreUnusable: the target is there already, or the copy is not sound.
    """
    return back_up(settings.sqlite_path(), target)


def restore_database(settings: Settings, backup: Path) -> Copied:
    """Make the database that the settings name out of a backup.

    Raises:
        StoreUnusable: there is one already, or the backup is none.
    """
    return restore(backup, settings.sqlite_path(), SystemClock().now())


def connect_stripe(settings: Settings, clock: Clock) -> Stripe:
    """Return Stripe as the settings describe it; nothing is called yet.

    Raises:
        ConfigError: no key is set.
    """
    if not settings.stripe_api_key:
        raise ConfigError(
            f"{PREFIX}STRIPE_API_KEY is not set: a secret key of your Stripe account, or any "
            "sk_test_... with the sandbox"
        )
    connection = StripeConnection(
        settings.stripe_api_key, settings.stripe_api_base, settings.stripe_rate, clock
    )
    return Stripe(
        accounts=AccountReader(connection),
        catalog=CatalogGateway(connection),
        endpoints=WebhookEndpoints(connection),
        invoices=InvoiceReader(connection),
        objects=ObjectSource(connection),
        rehearsal=Rehearsal(connection, clock),
        summaries=SummaryReader(connection),
        usage={
            ReportWay.METER_EVENTS: MeterEventSink(connection),
            ReportWay.METER_EVENT_STREAM: MeterEventStreamSink(connection),
            ReportWay.USAGE_RECORDS: UsageRecordSink(connection),
        },
    )
