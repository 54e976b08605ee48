"""A server to measure: a real process on a database of its own, with the example's two meters."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tallystick.billing.catalog_file import read_catalog
from tallystick.cli.local_servers import LocalServer
from tallystick.config import Settings
from tallystick.wiring import Tallystick
from tests.bench.load import Target
from tests.fixtures.keys import key_for

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "web_api" / "catalog.yaml"
_SAMPLE_SECONDS = 0.2


class MeasuredServer:
    """A running server, and what the system knows of its process."""

    def __init__(self, target: Target, pid: int, database: Path) -> None:
        self.target = target
        self.pid = pid
        self.database = database

    def processor_seconds(self) -> float:
        """Return the processor time that the server has used."""
        return processor_seconds(self.pid)

    def memory_mb(self) -> float:
        """Return the server's resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the system does not tell a process's memory")

    def events_stored(self) -> int:
        """Return how many events the database has."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            return int(
                connection.execute("SELECT COALESCE(MAX(seq), 0) FROM usage_events").fetchone()[0]
            )


class MemoryWatch:
    """Samples a server's memory until it is stopped; ``highest_mb`` is the most it saw."""

    def __init__(self, server: MeasuredServer) -> None:
        self.highest_mb = 0.0
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopping.wait(_SAMPLE_SECONDS):
            self.highest_mb = max(self.highest_mb, self._server.memory_mb())

    def stop(self) -> float:
        """Stop and return the most that was seen, in MB."""
        self._stopping.set()
        self._thread.join()
        return self.highest_mb


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def measured_server(folder: Path) -> Iterator[MeasuredServer]:
    """Start a server on the folder's database, which is made if there is none."""
    database = folder / "bench.db"
    with running_server(f"sqlite:///{database}", folder) as (target, pid):
        yield MeasuredServer(target, pid, database)


@contextmanager
def running_server(url: str, folder: Path) -> Iterator[tuple[Target, int]]:
    """Start a server on a database, with the example's catalog; return where it is and its process
    id.
    """
    with Tallystick(Settings(database_url=url)) as product:
        if not product.catalog.meters().by_key:
            declared = read_catalog(EXAMPLE)
            product.catalog.keep(
                declared,
                {meter.key: f"mtr_{meter.key}" for meter in declared.meters},
                {price.key: f"price_{price.key}" for price in declared.prices},
                product.clock.now(),
            )
        key = key_for(product, "bench")
    environment = {"TALLYSTICK_DATABASE_URL": url, "TALLYSTICK_STRIPE_API_KEY": ""}
    with LocalServer("bench", ["serve", "--port", "0"], environment, folder) as server:
        yield Target(server.url, key), server.pid
