"""One run of chaos: a real server on real sockets, killed at random, with a Stripe that fails."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from tallystick.cli.local_servers import READY as SERVING
from tallystick.cli.local_servers import LocalServer
from tallystick.cli.works import READY as WORKING
from tallystick.client.connection import ServerConnection, ServerUnreachable
from tallystick.config import Settings
from tallystick.domain.aggregation import quantity_of
from tallystick.domain.instants import MINUTE_US, SECOND_US, format_instant
from tallystick.domain.quantity import add_all
from tallystick.oversight.invariants import check_store, check_stripe
from tallystick.pipeline.planning import BEHIND_US
from tallystick.ports.clock import SystemClock
from tallystick.ports.errors import PortError
from tallystick.wiring import Tallystick
from tests.fixtures.billed_customers import EVENT_TYPE, METERS, PRICES, BilledCustomers
from tests.fixtures.keys import key_for
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.ports import free_port
from tests.fixtures.stripe_account import environment_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENDERS = 2
BATCH_MAX = 20
LEASES_OVER_US = 15 * MINUTE_US
"""After a kill, reports stay leased to nobody for minutes: the end does not wait for that."""
MORE_CUSTOMERS = 40
ACKNOWLEDGED_MIN = 100
"""A run goes on until so many events are taken, and Stripe has failed, however slow all is."""

FAULTS: dict[str, dict[str, Any]] = {
    "rate_limit": {"probability": "0.03"},
    "rate_limit_bare": {"probability": "0.01"},
    "conflict": {"probability": "0.02"},
    "server_error": {"probability": "0.03"},
    "server_error_after": {"probability": "0.03"},
    "cut_before": {"probability": "0.03"},
    "cut_after": {"probability": "0.03"},
    "slow": {"probability": "0.02", "seconds": "0.3"},
}
PATHS = ("*/billing/meter_event*", "/v1/subscription_items/*")


class LaterClock(SystemClock):
    """The machine's clock, some time ahead."""

    def now(self) -> int:
        """Return an instant at which every lease of now is over."""
        return super().now() + LEASES_OVER_US


@dataclass
class Tally:
    """What happened, and what is wrong at the end."""

    sent: int = 0
    acknowledged: int = 0
    reported: int = 0
    restarts: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


class Chaos:
    """Sends, kills and restarts by a seed, then settles and compares.

    On SQLite one server does everything. On PostgreSQL, given the address of an empty database, two
    servers take events and two workers report them; one of the four at a time is killed.
    """

    def __init__(self, folder: Path, seed: int, postgres_url: str | None = None) -> None:
        self._folder = folder
        self._postgres_url = postgres_url
        self._drawn = random.Random(seed)
        self._seed = seed
        self._over = threading.Event()
        self._counting = threading.Lock()
        self._acknowledged: dict[str, Counter[str]] = {}
        self.tally = Tally()

    def run(self, seconds: float, kills: int, way: str) -> Tally:
        """Run for so long with so many kills; return the tally."""
        with LocalServer(
            "sandbox", ["sandbox", "--port", "0", "--seed", str(self._seed)], {}, self._folder
        ) as sandbox:
            self._settings = Settings(
                database_url=self._postgres_url or f"sqlite:///{self._folder / 'tallystick.db'}",
                stripe_api_key=f"sk_test_chaos{self._seed}",
                stripe_api_base=sandbox.url,
                stripe_rate=10_000,
                stripe_meter_events=way,  # type: ignore[arg-type]  # one of the two ways
            )
            key = self._prepare()
            self._set_faults(
                [
                    {"kind": kind, "method": "POST", "path": path, **how}
                    for kind, how in FAULTS.items()
                    for path in PATHS
                ]
            )
            self._run_and_kill(key, seconds, kills)
            self._count_faults()
            self._settle()
            self._compare()
        return self.tally

    def _prepare(self) -> str:
        clock = SystemClock()
        with Tallystick(self._settings, clock) as product:
            self._customers = BilledCustomers(
                product, self._settings, clock, on_test_clock=False, more=MORE_CUSTOMERS
            )
            self._began_at = clock.now()
            return key_for(product, "chaos")

    def _run_and_kill(self, key: str, seconds: float, kills: int) -> None:
        moments = sorted(self._drawn.uniform(0, seconds) for _ in range(kills))
        environment = {**environment_of(self._settings), "TALLYSTICK_REPORT_SECONDS": "1"}
        environment["TALLYSTICK_STRIPE_METER_EVENTS"] = self._settings.stripe_meter_events
        commands = self._commands()

        def started(name: str) -> LocalServer:
            ready = WORKING if name.startswith("worker") else SERVING
            return LocalServer(name, commands[name], environment, self._folder, ready=ready)

        running = {name: started(name) for name in commands}
        urls = [server.url for name, server in running.items() if not name.startswith("worker")]
        senders = [
            threading.Thread(target=self._send, args=(urls[number % len(urls)], key, f"s{number}"))
            for number in range(SENDERS)
        ]
        try:
            for sender in senders:
                sender.start()
            began = time.monotonic()
            for moment in moments:
                time.sleep(max(0.0, began + moment - time.monotonic()))
                name = self._drawn.choice(sorted(commands))
                running[name].kill()
                self.tally.restarts += 1
                running[name] = started(name)
            time.sleep(max(0.0, began + seconds - time.monotonic()))
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while not self._met_enough() and time.monotonic() < give_up_at:
                time.sleep(0.2)
        finally:
            self._over.set()
            for server in running.values():
                server.kill()
            for sender in senders:
                sender.join()

    def _met_enough(self) -> bool:
        self._count_faults()
        return self.tally.acknowledged >= ACKNOWLEDGED_MIN and sum(self.tally.faults.values()) > 0

    def _commands(self) -> dict[str, list[str]]:
        """Return the processes by name, each with what starts it, always on the same port."""
        if self._postgres_url is None:
            return {"server": ["serve", "--port", str(free_port())]}
        apis = {f"server{n}": ["serve", "--no-workers", "--port", str(free_port())] for n in "12"}
        return {**apis, "worker1": ["worker"], "worker2": ["worker"]}

    def _send(self, url: str, key: str, name: str) -> None:
        """Send batches until the end, each again until it is acknowledged."""
        drawn = random.Random(f"{self._seed}/{name}")
        connection = ServerConnection(url, key)
        number = 0
        while not self._over.is_set():
            customer = drawn.choice(sorted(self._customers.stripe_ids))
            values = {f"{name}-{number + n}": drawn.randrange(1, 9) for n in range(BATCH_MAX)}
            number += BATCH_MAX
            at = format_instant(SystemClock().now() - SECOND_US)
            lines = [
                json.dumps(
                    {"id": id_, "type": EVENT_TYPE, "customer": customer, "time": at, "value": v}
                ).encode()
                for id_, v in values.items()
            ]
            self._post(connection, lines, customer, values)
            time.sleep(drawn.uniform(0, 0.1))
        connection.close()

    def _post(
        self,
        connection: ServerConnection,
        lines: list[bytes],
        customer: str,
        values: dict[str, int],
    ) -> None:
        while not self._over.is_set():
            with self._counting:
                self.tally.sent += len(lines)
            try:
                answer = connection.post_events(lines)
            except ServerUnreachable:
                time.sleep(0.1)
                continue
            with self._counting:
                self.tally.acknowledged += answer.accepted + answer.duplicates
                kept = self._acknowledged.setdefault(customer, Counter())
                kept.update({str(r["id"]): values[str(r["id"])] for r in answer.results})
            return

    def _set_faults(self, rules: list[dict[str, Any]]) -> None:
        self._control("POST", {"rules": rules, "seed": self._seed})

    def _count_faults(self) -> None:
        counted: Counter[str] = Counter()
        for rule in self._control("GET", None)["rules"]:
            counted[rule["kind"]] += rule["happened"]
        self.tally.faults = dict(sorted(counted.items()))

    def _control(self, method: str, body: Any) -> dict[str, Any]:
        answer = httpx2.request(
            method,
            f"{self._settings.stripe_api_base}/_sandbox/faults",
            json=body,
            headers={"Authorization": f"Bearer {self._settings.stripe_api_key}"},
            timeout=PATIENCE_SECONDS,
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _settle(self) -> None:
        """Let what is on its way arrive, now that nothing fails any more."""
        self._set_faults([])
        with Tallystick(self._settings) as product:
            # the newest events are a second in the past, and a usage record never carries the
            # minute in which its period began, nor the seconds before it is made
            over_at = (self._began_at // MINUTE_US + 1) * MINUTE_US + BEHIND_US + 2 * SECOND_US
            time.sleep(max(1.1, (over_at - product.clock.now()) / SECOND_US))
            product.reporter.run(at_once=True)
        with Tallystick(self._settings, LaterClock()) as product:
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while product.outbox.depth().pending and time.monotonic() < give_up_at:
                product.deliverer.run()
                time.sleep(0.2)
            self.tally.reported = len(product.book.reports())

    def _compare(self) -> None:
        time.sleep(1)  # the sandbox counts a meter event a moment after it took it
        with Tallystick(self._settings) as product:
            self.tally.differences = list(self._differences(product))

    def _differences(self, product: Tallystick) -> Iterator[str]:
        with product.snapshots.snapshot() as snapshot:
            stored = {one.event.id: int(one.event.value) for one in snapshot.events()}
            checks = check_store(snapshot, product.catalog.meters())
            reports = list(snapshot.reports())
        try:
            checks.append(
                check_stripe(
                    reports,
                    product.catalog.stripe_meter_ids(),
                    product.stripe.summaries,
                    product.recorded_items,
                )
            )
        except PortError as error:
            yield str(error)
        for check in checks:
            yield from check.findings
        counts = product.outbox.counts()
        if set(counts) - {"delivered"}:
            yield f"reports are left: {counts}"
        meters = product.catalog.meters().by_key
        for customer, stripe_id in self._customers.stripe_ids.items():
            acknowledged = self._acknowledged.get(customer, Counter())
            missing = [id_ for id_, value in acknowledged.items() if stored.get(id_) != value]
            if missing:
                yield f"{customer}: {len(missing)} acknowledged events are missing"
            meter = meters[METERS[PRICES.get(customer, "metered")]]
            periods = {item.period for item in product.customers.items(stripe_id)[0]}
            measured = add_all(
                quantity_of(product.usage.usage(meter, customer, period), meter.aggregation)
                for period in periods
            )
            theirs = add_all(self._customers.at_stripe(product, customer, p) for p in periods)
            if theirs != measured:
                yield f"{customer}: Stripe has {theirs}, measured {measured}"
