"""A server to measure: real processes on a database of its own, with the example's two meters."""

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
    """A running server, and what the system knows of its processes."""

    def __init__(self, target: Target, pid: int, database: Path) -> None:
        self.target = target
        self.pid = pid
        self.database = database

    def processor_seconds(self) -> float:
        """Return the processor time that the server's processes have used."""
        return sum(map(processor_seconds, _family(self.pid)))

    def memory_mb(self) -> float:
        """Return the memory of the server's processes, what they share counted once."""
        return sum(map(_proportional_mb, _family(self.pid)))

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


def _family(pid: int) -> Iterator[int]:
    """Return a process and those that it started and that still run."""
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _family(int(child))


def _proportional_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system does not tell a process's share of memory")


@contextmanager
def measured_server(folder: Path, *, api_processes: int = 0) -> Iterator[MeasuredServer]:
    """Start a server on the folder's database, which is made if there is none."""
    database = folder / "bench.db"
    url = f"sqlite:///{database}"
    with running_server(url, folder, api_processes=api_processes) as (target, pid):
        yield MeasuredServer(target, pid, database)


@contextmanager
def running_server(
    url: str, folder: Path, *, api_processes: int = 0
) -> Iterator[tuple[Target, int]]:
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
    arguments = ["serve", "--port", "0", "--api-processes", str(api_processes)]
    with LocalServer("bench", arguments, environment, folder) as server:
        yield Target(server.url, key), server.pid
