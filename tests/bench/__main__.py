"""`make bench`: measure on this machine, print a table and write build/bench.json.

python -m tests.bench                     everything
python -m tests.bench --quick             the same with few events: shows that it runs
python -m tests.bench ingest_single       only what these names need
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.bench import client, delivery, ingest, postgres, rating, webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping

BUILD = Path(__file__).parents[2] / "build"
GOALS: dict[str, tuple[str, float]] = {
    "ingest_batch100": ("events/s", 60_000),
    "ingest_batch100_vs_bare": ("ratio", 0.5),
    "ingest_batch100_random_10m": ("events/s", 30_000),
    "ingest_single": ("events/s", 8_000),
    "ingest_single_p99_ms": ("ms", 50),
    "usage_read_p99_ms": ("ms", 10),
    "ingest_memory_mb": ("MB", 250),
    "ingest_cost_10m_vs_1m": ("ratio", 1.5),
}

ALL = (
    "rating",
    "webhooks_per_s",
    "client_record_us",
    *ingest.NAMES,
    *delivery.NAMES,
    *postgres.NAMES,
)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(ALL)}")
    parser.add_argument("--quick", action="store_true", help="few events, to see that it runs")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--folder", type=Path, help="keep the database there, and use it again")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(ALL)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    names = set(asked.names) or set(ALL)
    results = _ingest_results(names, asked) + _delivery_results(names, asked)
    results += _postgres_results(names, asked)
    results += rating.results() if "rating" in names else []
    results += webhooks.results(quick=asked.quick) if "webhooks_per_s" in names else []
    results += client.results() if "client_record_us" in names else []
    _print(results, asked.seed)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps({"results": results}, indent=2) + "\n")


def _ingest_results(names: set[str], asked: argparse.Namespace) -> list[dict[str, Any]]:
    wanted = names & set(ingest.NAMES)
    if not wanted:
        return []
    BUILD.mkdir(exist_ok=True)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD))
    folder.mkdir(exist_ok=True)
    try:
        scale = ingest.QUICK if asked.quick else ingest.FULL
        bench = ingest.measure(scale, asked.seed, folder, wanted)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder)
    return _results(GOALS, bench.values, bench.asides)


def _delivery_results(names: set[str], asked: argparse.Namespace) -> list[dict[str, Any]]:
    wanted = names & set(delivery.NAMES)
    if not wanted:
        return []
    measured = delivery.measure(wanted, quick=asked.quick)
    return _results(delivery.GOALS, measured.values, measured.asides)


def _postgres_results(names: set[str], asked: argparse.Namespace) -> list[dict[str, Any]]:
    if not names & set(postgres.NAMES):
        return []
    with tempfile.TemporaryDirectory() as folder:
        measured = postgres.measure(Path(folder), asked.seed, quick=asked.quick)
    return _results(postgres.GOALS, measured.values, measured.asides)


def _results(
    goals: Mapping[str, tuple[str, float | None]],
    values: dict[str, float],
    asides: dict[str, float],
) -> list[dict[str, Any]]:
    measured = [
        {"name": name, "value": _rounded(values[name]), "unit": unit, "goal": goal}
        for name, (unit, goal) in goals.items()
        if name in values
    ]
    beside = [
        {"name": name, "value": _rounded(value), "unit": "aside", "goal": None}
        for name, value in asides.items()
    ]
    return measured + beside


def _rounded(value: float) -> float:
    return round(value) if value >= 1_000 else round(value, 2)


def _print(results: list[dict[str, Any]], seed: int) -> None:
    table = Table(title=f"seed {seed}", title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(("name", "value", "goal", "unit")):
        table.add_column(column, justify="right" if number in (1, 2) else "left", no_wrap=True)
    for result in results:
        goal = "" if result["goal"] is None else f"{result['goal']:,}"
        table.add_row(result["name"], f"{result['value']:,}", goal, result["unit"])
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
