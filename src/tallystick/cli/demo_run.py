"""The steps of the demo, each through the same parts that a team would use."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tallystick.billing.catalog_changes import apply_catalog
from tallystick.billing.catalog_file import read_catalog
from tallystick.billing.usage_bill import Biller
from tallystick.cli.importing import ImportJob, import_file
from tallystick.cli.local_servers import LocalServer
from tallystick.cli.output import console, error_console, print_table
from tallystick.cli.reporting import flush_now
from tallystick.cli.session import InputError
from tallystick.cli.works import READY as WORKING
from tallystick.client.connection import EVENTS_PATH, EventAnswer, ServerConnection
from tallystick.client.history_files import HistoryFile
from tallystick.client.history_rows import HistoryFormat, ReadingOptions
from tallystick.client.recorder import Client
from tallystick.config import Settings
from tallystick.domain.api_keys import Scope
from tallystick.domain.instants import HOUR_US, format_instant, parse_instant
from tallystick.domain.money import Money, format_money
from tallystick.domain.quantity import add_all, plain
from tallystick.domain.subscriptions import CustomerLink
from tallystick.oversight.invoice_comparison import ComparedInvoice, compare_cycle_invoices
from tallystick.oversight.key_ring import KeyRing
from tallystick.stripe_gateway.rehearsal import CUSTOMERS_PER_CLOCK_MAX
from tallystick.wiring import Tallystick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import ExitStack

T = TypeVar("T")
R = TypeVar("R")

API_KEY = "sk_test_demo"
"""Any test key is an account of its own in the sandbox."""

STRIPE_RATE = 5_000
"""Calls a second: the sandbox needs no rest. Without this the demo would keep to the 25 a second of
Stripe's test mode."""

SUBSCRIBED_AT = parse_instant("2015-05-01")
USED_UNTIL = parse_instant("2015-05-21")
INVOICED_AT = parse_instant("2015-06-01") + 2 * HOUR_US
"""The log is from 17 to 20 May 2015; a cycle invoice is final an hour after its period."""

LOG_OPTIONS = ReadingOptions(event_type="http_request", source="access-log")
THREADS = 4
BATCH = 500
LARGEST = 10
FLUSH_SECONDS = 300.0


@dataclass(frozen=True)
class Servers:
    """The sandbox, and Tallystick's processes on one database."""

    sandbox: LocalServer
    apis: tuple[LocalServer, ...]
    workers: tuple[LocalServer, ...]
    environment: Mapping[str, str]

    @property
    def processes(self) -> list[LocalServer]:
        """Every process, Tallystick's first."""
        return [*self.apis, *self.workers, self.sandbox]

    def product(self) -> Tallystick:
        """Return the product on the servers' database, for this process."""
        environment = self.environment
        return Tallystick(
            Settings(
                database_url=environment["TALLYSTICK_DATABASE_URL"],
                stripe_api_key=environment["TALLYSTICK_STRIPE_API_KEY"],
                stripe_api_base=environment["TALLYSTICK_STRIPE_API_BASE"],
                stripe_rate=int(environment["TALLYSTICK_STRIPE_RATE"]),
            )
        )


def start_servers(workplace: Path, stack: ExitStack, database_url: str | None = None) -> Servers:
    """Start the sandbox and Tallystick, on free loopback ports; the stack stops them.

    On a new SQLite file one server does everything. On a PostgreSQL database, which must be empty,
    two servers take events and two workers report them.

    Raises:
        InputError: the database holds events already.
    """
    sandbox = stack.enter_context(LocalServer("sandbox", ["sandbox", "--port", "0"], {}, workplace))
    environment = {
        "TALLYSTICK_DATABASE_URL": database_url or f"sqlite:///{workplace / 'tallystick.db'}",
        "TALLYSTICK_STRIPE_API_KEY": API_KEY,
        "TALLYSTICK_STRIPE_API_BASE": sandbox.url,
        "TALLYSTICK_STRIPE_RATE": str(STRIPE_RATE),
    }
    with Tallystick(Settings(database_url=environment["TALLYSTICK_DATABASE_URL"])) as product:
        # makes the database, as `tallystick init` does
        if product.events.count() or product.customers.links():
            raise InputError("database_in_use", "the demo needs a database with nothing in it")
    names = ("tallystick",) if database_url is None else ("tallystick-1", "tallystick-2")
    arguments = ["serve", "--port", "0", *(() if database_url is None else ("--no-workers",))]
    apis = [stack.enter_context(LocalServer(n, arguments, environment, workplace)) for n in names]
    workers = [
        stack.enter_context(LocalServer(name, ["worker"], environment, workplace, ready=WORKING))
        for name in (() if database_url is None else ("worker-1", "worker-2"))
    ]
    return Servers(sandbox, tuple(apis), tuple(workers), environment)


class _InTurn(ServerConnection):
    """Sends to several servers, one after the other: each takes its part of the log."""

    def __init__(self, urls: Sequence[str], key: str) -> None:
        super().__init__(urls[0], key)
        self._others = [ServerConnection(url, key) for url in urls[1:]]
        self._posts = cycle([super().post_events, *(other.post_events for other in self._others)])

    def post_events(self, events: list[bytes], path: str = EVENTS_PATH) -> EventAnswer:
        """Send a batch to the next server."""
        return next(self._posts)(events, path)

    def close(self) -> None:
        """Close every connection."""
        for other in self._others:
            other.close()
        super().close()


class DemoRun:
    """One run over an example's catalog and log."""

    def __init__(
        self, servers: Servers, product: Tallystick, example: Path, *, through_client: bool = False
    ) -> None:
        self._product = product
        self._urls = [api.url for api in servers.apis]
        self._send = _record_log if through_client else _import_log
        self._catalog_file = example / "catalog.yaml"
        self._log = example / "access.log.gz"
        self._out = console()

    def run(self) -> int:
        """Bill the log and print both halves; return how many invoices differ."""
        self._say(f"sandbox rate: TALLYSTICK_STRIPE_RATE={STRIPE_RATE} calls a second")
        price_ids = self._apply()
        clocks = self._subscribe(self._clients(), price_ids)
        self._send_log()
        self._advance(clocks, USED_UNTIL, "to the end of the log")
        self._report()
        self._advance(clocks, INVOICED_AT, "past the period's end")
        return self._compare()

    def _apply(self) -> list[str]:
        product = self._product
        declared = read_catalog(self._catalog_file)
        applied = apply_catalog(declared, product.catalog, product.stripe.catalog, product.clock)
        self._say(f"catalog: created {', '.join(applied.created)}")
        return list(applied.price_ids.values())

    def _clients(self) -> list[str]:
        rows = HistoryFile(self._log, HistoryFormat.ACCESS_LOG, LOG_OPTIONS).rows()
        return list(dict.fromkeys(json.loads(row.event)["customer"] for row in rows if row.event))

    def _subscribe(self, clients: Sequence[str], price_ids: Sequence[str]) -> list[str]:
        """Put the clients on test clocks, subscribe and link them; return the clocks."""
        rehearsal = self._product.stripe.rehearsal

        def subscribe_three(customers: Sequence[str]) -> list[CustomerLink]:
            clock_id = rehearsal.create_clock(SUBSCRIBED_AT, f"demo {customers[0]}")
            links = []
            for customer in customers:
                stripe_id = rehearsal.create_customer(customer, clock_id)
                rehearsal.subscribe(stripe_id, price_ids)
                links.append(CustomerLink(customer, stripe_id, clock_id))
            return links

        size = CUSTOMERS_PER_CLOCK_MAX
        groups = [clients[first : first + size] for first in range(0, len(clients), size)]
        done = _side_by_side("subscribing three by three", subscribe_three, groups)
        links = [link for group in done for link in group]
        self._product.customers.link(links, self._product.clock.now())
        clocks = list(dict.fromkeys(link.test_clock_id for link in links if link.test_clock_id))
        self._say(f"customers: {len(links):,} subscribed on {len(clocks):,} test clocks")
        return clocks

    def _send_log(self) -> None:
        product = self._product
        _, key = KeyRing(product.api_keys, product.clock).create("demo", [Scope.INGEST])
        accepted, duplicates, refused = self._send(self._log, self._urls, key)
        self._say(f"events: {accepted:,} accepted, {duplicates:,} duplicates, {refused:,} refused")

    def _advance(self, clocks: Sequence[str], to_at: int, why: str) -> None:
        rehearsal = self._product.stripe.rehearsal

        def advance(clock_id: str) -> None:
            rehearsal.advance(clock_id, to_at)
            rehearsal.wait_until_ready(clock_id)

        _side_by_side(f"advancing clocks {why}", advance, clocks)
        self._say(f"clocks: advanced {why}, {format_instant(to_at)}")

    def _report(self) -> None:
        with error_console().status("reporting to Stripe"):
            flushed = flush_now(self._product, FLUSH_SECONDS)
        states = ", ".join(f"{number:,} {state}" for state, number in flushed["outbox"].items())
        self._say(f"reports: {states}")

    def _compare(self) -> int:
        product = self._product
        with error_console().status("comparing invoices"):
            compared = list(
                compare_cycle_invoices(
                    product.stripe.invoices.invoices(),
                    product.customers,
                    Biller(product.usage, product.catalog),
                )
            )
        return print_comparison(compared)

    def _say(self, text: str) -> None:
        self._out.print(text, markup=False, soft_wrap=True)


def _import_log(log: Path, urls: Sequence[str], key: str) -> tuple[int, int, int]:
    """Send the log as `tallystick import` does; return events accepted, duplicate and refused."""
    with TemporaryDirectory() as folder:
        job = ImportJob(
            log,
            HistoryFormat.ACCESS_LOG,
            LOG_OPTIONS,
            is_history=False,
            position=Path(folder) / "position.json",
            refused=Path(folder) / "refused.ndjson",
            batch=BATCH,
        )
        done = import_file(job, _InTurn(urls, key)).position
    return done.accepted, done.duplicates, done.refused


def _record_log(log: Path, urls: Sequence[str], key: str) -> tuple[int, int, int]:
    """Send the log as an application would: each line recorded, with an id of the client's."""
    refused = 0
    with TemporaryDirectory() as spool, Client(urls[0], key, spool=spool) as client:
        for row in HistoryFile(log, HistoryFormat.ACCESS_LOG, LOG_OPTIONS).rows():
            if row.event is None:
                refused += 1
                continue
            event = json.loads(row.event)
            client.record(
                event["type"],
                customer=event["customer"],
                value=event["value"],
                properties=event["properties"],
                time=datetime.fromisoformat(event["time"]),
            )
        client.flush(FLUSH_SECONDS)
        metrics = client.metrics
    return metrics.accepted, metrics.duplicates, metrics.rejected + refused


def print_comparison(compared: Sequence[ComparedInvoice]) -> int:
    """Print both halves of the largest invoices and in total; return how many differ."""
    largest = sorted(compared, key=lambda one: (-(one.ours_minor or 0), one.customer))[:LARGEST]
    rows = [_row(one.customer, [one]) for one in largest]
    rows.append(_row("total", compared))
    print_table(
        f"the {len(largest)} largest of {len(compared):,} invoices",
        ("customer", "requests", "bytes", "our amount", "Stripe's amount", "difference"),
        rows,
    )
    differing = [one for one in compared if one.differences]
    for one in differing:
        console().print(f"{one.customer}: {'; '.join(one.differences)}", markup=False)
    console().print(f"{len(differing)} of {len(compared)} invoices differ")
    return len(differing)


def _row(name: str, compared: Iterable[ComparedInvoice]) -> tuple[str, ...]:
    together = list(compared)
    currency = next((one.currency for one in together if one.currency), "usd")

    def quantity(meter_key: str) -> str:
        total = add_all(one.quantities[meter_key] for one in together if one.quantities)
        return f"{int(total):,}" if total == total.to_integral_value() else plain(total)

    def money(minor: int) -> str:
        return format_money(Money(minor, currency))

    return (
        name,
        quantity("api_requests"),
        quantity("bandwidth_bytes"),
        money(sum(one.ours_minor or 0 for one in together)),
        money(sum(one.stripe_minor or 0 for one in together)),
        money(sum(one.difference_minor for one in together)),
    )


def _side_by_side(what: str, work: Callable[[T], R], pieces: Sequence[T]) -> list[R]:
    """Do the work on every piece, a few at a time, with a progress bar on standard error."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=error_console()) as progress,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        done = []
        task = progress.add_task(what, total=len(pieces))
        for outcome in pool.map(work, pieces):
            done.append(outcome)
            progress.advance(task)
        return done
