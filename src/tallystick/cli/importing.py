"""`tallystick import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.cli.output import console, error_console, print_json
from tallystick.cli.session import InputError, settings
from tallystick.client.connection import ServerConnection
from tallystick.client.history_files import (
    HistoryFormat,
    HistoryRow,
    LineNames,
    count_lines,
    read_history,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REFUSED_SHOWN_MAX = 20
"""Refused rows printed; the rest is counted. With `--json` all are printed."""


class ImportTally:
    """What became of the rows of a file."""

    def __init__(self) -> None:
        self.rows = 0
        self.accepted = 0
        self.duplicates = 0
        self.refused: list[dict[str, Any]] = []

    def refuse(self, line: int, status: str, code: str, detail: str) -> None:
        """Keep why a line was not taken."""
        self.refused.append({"line": line, "status": status, "code": code, "detail": detail})

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "refused": self.refused,
        }


def import_(
    file: Path = typer.Argument(..., help="The file; `.gz` is unpacked."),
    file_format: HistoryFormat = typer.Option(
        HistoryFormat.NDJSON, "--format", help="What its lines are."
    ),
    event_type: str = typer.Option("http_request", help="The type of events made of log lines."),
    source: str = typer.Option("access-log", help="The source of events made of log lines."),
    url: str | None = typer.Option(None, help="The server; else TALLYSTICK_HOST and _PORT."),
    key: str | None = typer.Option(None, help="An API key; else TALLYSTICK_API_KEY."),
    batch: int = typer.Option(500, min=1, max=10_000, help="Events in one request."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Send the events of a file to a server, each once however often it is run.

    Example: `tallystick import access.log.gz --format access-log`
    """
    found = settings()
    address = url or f"http://{found.host}:{found.port}"
    api_key = key or found.api_key
    if not api_key:
        raise InputError("key_missing", "say --key or TALLYSTICK_API_KEY; see `tallystick keys`")
    if not file.is_file():
        raise InputError("no_file", f"{file} is not a file")
    tally = import_file(
        file, file_format, LineNames(event_type, source), ServerConnection(address, api_key), batch
    )
    if as_json:
        print_json(tally.as_json())
    else:
        _print_tally(tally)
    if tally.refused:
        raise typer.Exit(1)


def import_file(
    file: Path,
    file_format: HistoryFormat,
    names: LineNames,
    connection: ServerConnection,
    batch: int,
) -> ImportTally:
    """Send a file in batches, with a progress bar on standard error; return what became of it."""
    tally = ImportTally()
    with Progress(
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=error_console(),
    ) as progress:
        task = progress.add_task("importing", total=count_lines(file))
        _send_all(
            read_history(file, file_format, names),
            connection,
            batch,
            tally,
            lambda sent: progress.advance(task, sent),
        )
    connection.close()
    return tally


def _send_all(
    rows: Iterable[HistoryRow],
    connection: ServerConnection,
    batch: int,
    tally: ImportTally,
    advance: Callable[[int], object],
) -> None:
    waiting: list[HistoryRow] = []
    for row in rows:
        tally.rows += 1
        if row.event is None:
            tally.refuse(row.line, "invalid", "unreadable_line", row.refusal or "")
            advance(1)
            continue
        waiting.append(row)
        if len(waiting) == batch:
            _send(waiting, connection, tally)
            advance(len(waiting))
            waiting.clear()
    if waiting:
        _send(waiting, connection, tally)
        advance(len(waiting))


def _send(rows: list[HistoryRow], connection: ServerConnection, tally: ImportTally) -> None:
    answer = connection.post_events([row.event for row in rows if row.event is not None])
    tally.accepted += answer.accepted
    tally.duplicates += answer.duplicates
    for row, result in zip(rows, answer.results, strict=True):
        if result["status"] in ("invalid", "conflict"):
            tally.refuse(row.line, result["status"], result["code"], result["detail"])


def _print_tally(tally: ImportTally) -> None:
    out = console()
    out.print(
        f"{tally.rows:,} rows: {tally.accepted:,} accepted, {tally.duplicates:,} duplicates, "
        f"{len(tally.refused):,} refused"
    )
    for refused in tally.refused[:REFUSED_SHOWN_MAX]:
        out.print(
            f"line {refused['line']}: {refused['status']} ({refused['code']}) {refused['detail']}",
            markup=False,
        )
    if len(tally.refused) > REFUSED_SHOWN_MAX:
        out.print(f"and {len(tally.refused) - REFUSED_SHOWN_MAX:,} more; --json prints all")
