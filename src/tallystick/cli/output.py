"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH_UNKNOWN = 120
"""Columns of a table where the output is no terminal."""


def console() -> Console:
    """Return where tables and texts go: standard output."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_UNKNOWN, highlight=False)


def error_console() -> Console:
    """Return where progress and errors go: standard error."""
    return Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column is text and whose others are figures."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console().print(table)
