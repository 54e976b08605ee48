"""Kill the server at random moments under load, again and again.

    python -m tests.crash.chaos --kills 200 --seed 7

Four clients send batches, some of them twice. The server is one process, or divided into three, of
which the first or the one that stores is killed. After each kill it starts on the same file, and
everything that was acknowledged before must be known to it. At the end usage must equal what was
acknowledged, counted once, and `tallystick verify` must find nothing.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
import threading
import time
from itertools import count
from pathlib import Path
from random import Random

from rich.console import Console

from tallystick.billing.catalog_file import read_catalog
from tallystick.client.connection import ServerConnection, ServerUnreachable
from tallystick.config import Settings
from tallystick.domain.instants import format_instant, parse_instant
from tallystick.domain.periods import Period
from tallystick.oversight.invariants import check_store
from tallystick.ports.errors import StripeUnreachable
from tallystick.wiring import Tallystick
from tests.fixtures.divided import DividedServer, kill
from tests.fixtures.keys import key_for
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS

CLIENTS = 4
BATCH_MAX = 60
LIFE_SECONDS_MAX = 0.6
START = parse_instant("2015-05-18")
SPAN_SECONDS = 6 * 3_600
EVER = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))


class Chaos:
    """A database, the clients' memory of what was acknowledged, and the kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = Random(seed)
        self._settings = Settings(database_url=f"sqlite:///{folder / 'chaos.db'}")
        self._sent = [0] * CLIENTS
        self._lines: dict[str, bytes] = {}
        self.acknowledged: set[str] = set()
        with Tallystick(self._settings) as product:
            catalog = read_catalog(CATALOG_FILE)
            meter_ids = {meter.key: f"mtr_{meter.key}" for meter in catalog.meters}
            price_ids = {price.key: f"price_{price.key}" for price in catalog.prices}
            product.catalog.keep(catalog, meter_ids, price_ids, product.clock.now())
            self._key = key_for(product, "chaos")

    def run(self, kills: int) -> list[str]:
        """Kill so many times, and until something was acknowledged; return everything that is not
        as it must be.
        """
        for number in count():
            if number >= kills and self.acknowledged:
                break
            self._one_life(number)
        missing = self._missing()
        return missing + self._findings()

    def _serve(self, name: str, count: int = 0) -> DividedServer:
        environment = {
            "TALLYSTICK_DATABASE_URL": self._settings.database_url,
            "TALLYSTICK_STRIPE_API_KEY": "",
        }
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return DividedServer(environment, self._folder, count=count, name=name)
            except StripeUnreachable as error:
                # what is left of the life before may have died late, and in a commit
                if "locked" not in str(error) or time.monotonic() > give_up_at:
                    raise

    def _one_life(self, number: int) -> None:
        count = self._random.choice((0, 1))
        server = self._serve(f"life{number}", count)
        victim = server.store if count and self._random.random() < 0.5 else server.pid
        seeds = [self._random.random() for _ in range(CLIENTS)]
        clients = [
            threading.Thread(target=self._send, args=(client, server.url, Random(seed)))
            for client, seed in enumerate(seeds)
        ]
        for client in clients:
            client.start()
        time.sleep(self._random.uniform(0, LIFE_SECONDS_MAX))
        kill(victim)
        for client in clients:
            client.join()
        server.wait()  # of the others, if any, some may still be ending

    def _send(self, client: int, url: str, random: Random) -> None:
        connection = ServerConnection(url, self._key)
        while True:
            ids = [self._new_event(client, random) for _ in range(random.randint(1, BATCH_MAX))]
            if random.random() < 0.3 and self._sent[client] > 1:  # a repeat among new ones
                ids.append(f"{client}-{random.randrange(self._sent[client])}")
            try:
                connection.post_events([self._lines[event_id] for event_id in ids])
            except ServerUnreachable:
                connection.close()  # it may be open still: 503 from a process that is left for now
                return
            self.acknowledged.update(ids)

    def _new_event(self, client: int, random: Random) -> str:
        event_id = f"{client}-{self._sent[client]}"
        self._sent[client] += 1
        at = format_instant(START + random.randrange(SPAN_SECONDS) * 1_000_000)
        self._lines[event_id] = (
            f'{{"id":"{event_id}","type":"http_request","customer":"client-{client}",'
            f'"time":"{at}","value":{random.randrange(1_000)}}}'
        ).encode()
        return event_id

    def _missing(self) -> list[str]:
        """Send everything ever sent once more: what was acknowledged must be known."""
        missing = []
        ids = list(self._lines)
        with self._serve("last") as server:
            connection = ServerConnection(server.url, self._key)
            for start in range(0, len(ids), 1_000):
                part = ids[start : start + 1_000]
                answer = connection.post_events([self._lines[event_id] for event_id in part])
                for event_id, result in zip(part, answer.results, strict=True):
                    if result["status"] == "conflict":
                        missing.append(f"{event_id} is stored with another content")
                    elif result["status"] != "duplicate" and event_id in self.acknowledged:
                        missing.append(f"{event_id} was acknowledged and is {result['status']}")
            connection.close()
        return missing

    def _findings(self) -> list[str]:
        """Check the invariants, and that each client's events are counted once each."""
        findings = []
        with Tallystick(self._settings) as product:
            meter = product.catalog.meters().by_key["api_requests"]
            for client, sent in enumerate(self._sent):
                counted = product.usage.usage(meter, f"client-{client}", EVER).event_count
                if counted != sent:
                    findings.append(f"client-{client}: sent {sent}, counted {counted}")
            with product.snapshots.snapshot() as snapshot:
                checks = check_store(snapshot, product.catalog.meters())
        return findings + [finding for check in checks for finding in check.findings]


def main() -> int:
    """Run from the command line; exits 1 if anything is missing or counted twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    asked = parser.parse_args()
    out = Console()
    out.print(f"seed {asked.seed}, {asked.kills} kills")
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), asked.seed)
        findings = chaos.run(asked.kills)
    for finding in findings:
        out.print(finding, markup=False)
    out.print(f"{len(chaos.acknowledged):,} events acknowledged, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
