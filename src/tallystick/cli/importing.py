"""`tallystick import`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tallystick.cli.import_position import Position, PositionFile, RefusedRows
from tallystick.cli.output import console, error_console, print_json
from tallystick.cli.session import InputError, settings
from tallystick.client.connection import (
    EVENTS_PATH,
    HISTORY_PATH,
    EventAnswer,
    ServerConnection,
    ServerUnreachable,
)
from tallystick.client.history_files import HistoryFile
from tallystick.client.history_rows import (
    EpochUnit,
    HistoryError,
    HistoryFormat,
    HistoryRow,
    ReadingOptions,
)
from tallystick.ports.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED_SHOWN_MAX = 20
"""Refused rows printed; all of them are in the file."""

BATCH_BYTES_MAX = 4 << 20
"""Bytes of the events of one request: a server takes 10 MiB."""

PATIENCE_SECONDS = (1, 2, 4, 8, 16)
"""How long a server that takes nothing now is left alone before each further attempt."""


_File = Annotated[Path, typer.Argument(help="The file; `.gz` is unpacked.")]
_Format = Annotated[HistoryFormat, typer.Option("--format", help="What it is.")]
_Report = Annotated[
    bool, typer.Option("--report", help="Report the usage to Stripe; else it is history, for ever.")
]
_EventType = Annotated[
    str | None,
    typer.Option(help="The type of events whose row has none; of log lines, else http_request."),
]
_Source = Annotated[
    str | None,
    typer.Option(help="The source of events whose row has none; of log lines, else access-log."),
]
_Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", help="FIELD=COLUMN: which column holds a field, if not the one of its name."
    ),
]
_Properties = Annotated[
    list[str] | None,
    typer.Option("--property", help="A column that becomes a property; '*' all that are left."),
]
_Ignored = Annotated[
    list[str] | None,
    typer.Option("--ignore", help="A column to leave out; '*' all that are left."),
]
_Delimiter = Annotated[str, typer.Option(help="What separates cells of CSV; `tab` for a tab.")]
_Quote = Annotated[str, typer.Option(help="What quotes cells of CSV.")]
_Encoding = Annotated[str, typer.Option(help="How CSV is encoded.")]
_TimeUnit = Annotated[
    EpochUnit | None, typer.Option(help="Times are numbers since 1970 in this unit; else RFC 3339.")
]
_Utc = Annotated[bool, typer.Option("--utc", help="Times without an offset are UTC.")]
_Url = Annotated[str | None, typer.Option(help="The server; else TALLYSTICK_HOST and _PORT.")]
_Key = Annotated[str | None, typer.Option(help="An API key; else TALLYSTICK_API_KEY.")]
_Batch = Annotated[int, typer.Option(min=1, max=10_000, help="Events in one request.")]
_Position = Annotated[
    Path | None, typer.Option(help="Where to keep how far it is; else beside the file.")
]
_Refused = Annotated[
    Path | None, typer.Option(help="Where to write refused rows; else beside the file.")
]
_Restart = Annotated[bool, typer.Option("--restart", help="Begin anew, whatever was done before.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class ImportJob:
    """What is imported, and how.

    ``is_history``: Stripe is never told of the events. ``position`` and ``refused`` are where the
    position is kept and refused rows are written.
    """

    file: Path
    file_format: HistoryFormat
    options: ReadingOptions
    is_history: bool
    position: Path
    refused: Path
    batch: int = 500

    def fingerprint(self, url: str) -> dict[str, Any]:
        """Return what must be the same for an import to go on."""
        options: dict[str, Any] = json.loads(json.dumps(asdict(self.options)))
        return {
            "format": self.file_format.value,
            "is_history": self.is_history,
            "url": url,
            **options,
        }


@dataclass
class ImportTally:
    """What became of the rows of a file, those of earlier runs with them."""

    position: Position
    refused_file: Path
    resumed_after_row: int
    shown: list[dict[str, Any]]
    """The first rows that this run refused."""

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        position = self.position
        return {
            "rows": position.rows,
            "accepted": position.accepted,
            "duplicates": position.duplicates,
            "refused": position.refused,
            "refused_file": str(self.refused_file) if position.refused else None,
            "resumed_after_row": self.resumed_after_row,
            "is_history": position.job["is_history"],
        }


def import_(
    file: _File,
    file_format: _Format = HistoryFormat.NDJSON,
    report: _Report = False,
    event_type: _EventType = None,
    source: _Source = None,
    column: _Columns = None,
    property_: _Properties = None,
    ignore: _Ignored = None,
    delimiter: _Delimiter = ",",
    quote: _Quote = '"',
    encoding: _Encoding = "utf-8-sig",
    time_unit: _TimeUnit = None,
    utc: _Utc = False,
    url: _Url = None,
    key: _Key = None,
    batch: _Batch = 500,
    position: _Position = None,
    refused: _Refused = None,
    restart: _Restart = False,
    as_json: _Json = False,
) -> None:
    """Send the events of a file to a server, each once however often it is run; killed, it goes on
    where it stood.

    They count as usage. Stripe is told of them only with `--report`.

    Example: `tallystick import usage.csv --format csv --column customer=account`
    """
    options = ReadingOptions(
        event_type=event_type,
        source=source,
        columns=tuple(map(_column, column or ())),
        properties=tuple(property_ or ()),
        ignored=tuple(ignore or ()),
        delimiter=_character("delimiter", "\t" if delimiter == "tab" else delimiter),
        quote=_character("quote", quote),
        encoding=_known_encoding(encoding),
        epoch_unit=time_unit,
        assume_utc=utc,
    )
    position = position or file.with_name(file.name + ".import.json")
    refused = refused or file.with_name(file.name + ".refused.ndjson")
    job = ImportJob(
        file, file_format, options, not report, position=position, refused=refused, batch=batch
    )
    tally = import_file(job, _connection(url, key), restart=restart)
    if as_json:
        print_json(tally.as_json())
    else:
        _print_tally(tally)
    if tally.position.refused:
        raise typer.Exit(1)


def import_file(
    job: ImportJob, connection: ServerConnection, *, restart: bool = False
) -> ImportTally:
    """Send a file in batches, with a progress bar on standard error; return what became of it.

    Raises:
        InputError: the file is none, cannot be read as it was told, or is not the one whose import
            was begun.
        ServerUnreachable, ServerRefused: what was taken until then is not sent again.
    """
    if not job.file.is_file():
        raise InputError("no_file", f"{job.file} is not a file")
    try:
        file = HistoryFile(job.file, job.file_format, job.options)
        importing = _Importing(job, file, connection, restart=restart)
        with _bar() as progress:
            task = progress.add_task("importing", total=file.size)
            for batch in importing.batches():
                importing.send(batch)
                progress.update(task, completed=file.done)
        return importing.end()
    except HistoryError as error:
        raise InputError(error.code, str(error)) from None
    finally:
        connection.close()


class _Importing:
    def __init__(
        self, job: ImportJob, file: HistoryFile, connection: ServerConnection, *, restart: bool
    ) -> None:
        self._job = job
        self._file = file
        self._connection = connection
        self._kept = PositionFile(job.position)
        self._refused = RefusedRows(job.refused)
        new = Position(file.digest, job.fingerprint(connection.url))
        self._position = new if restart else self._kept.load() or new
        if (self._position.digest, self._position.job) != (new.digest, new.job):
            self._refuse_to_go_on(new)
        self._begun_after = self._position.row
        self._shown: list[dict[str, Any]] = []
        for path in (job.position, job.refused):
            if not os.access(path.parent, os.W_OK):
                raise InputError(
                    "position_unwritable",
                    f"no file can be made in {path.parent}, where the import would keep how far it "
                    "is and what was refused; --position and --refused name other places",
                )
        self._refused.begin(self._position.refused_bytes)

    def batches(self) -> Iterator[list[HistoryRow]]:
        """Return the rows that are left, as many at once as one request may have."""
        rows = self._file.rows(self._position.row)
        batch: list[HistoryRow] = []
        size = 0
        for row in rows:
            batch.append(row)
            size += len(row.event or b"")
            if len(batch) == self._job.batch or size > BATCH_BYTES_MAX:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def send(self, batch: list[HistoryRow]) -> None:
        """Send a batch, write down what was refused of it, and only then how far this is."""
        position = self._position
        sent = [row for row in batch if row.event is not None]
        answer = self._answer([row.event for row in sent if row.event is not None])
        refused: list[dict[str, Any]] = [
            {
                "row": row.row,
                "id": None,
                "status": "invalid",
                "code": row.code,
                "detail": row.detail,
            }
            for row in batch
            if row.event is None
        ]
        for row, result in zip(sent, answer.results, strict=True):
            if result["status"] in ("invalid", "conflict"):
                told = {name: result[name] for name in ("id", "status", "code", "detail")}
                refused.append({"row": row.row, **told})
        for one in sorted(refused, key=lambda each: each["row"]):
            self._refused.add(one)
            if len(self._shown) < REFUSED_SHOWN_MAX:
                self._shown.append(one)
        self._refused.save()
        position.row = batch[-1].row
        position.rows += len(batch)
        position.accepted += answer.accepted
        position.duplicates += answer.duplicates
        position.refused += len(refused)
        position.refused_bytes = self._refused.size
        self._kept.save(position)

    def end(self) -> ImportTally:
        """Forget the position, if the file is still the one that was read."""
        if self._file.has_changed():
            raise InputError(
                "file_changed",
                f"{self._job.file} changed while it was imported, up to row {self._position.row}; "
                "import what is new as a file of its own",
            )
        self._kept.remove()
        return ImportTally(self._position, self._job.refused, self._begun_after, self._shown)

    def _answer(self, events: list[bytes]) -> EventAnswer:
        """Send events; wait for a server that is there and takes nothing now."""
        if not events:
            return EventAnswer(0, 0, [])
        path = HISTORY_PATH if self._job.is_history else EVENTS_PATH
        for seconds in PATIENCE_SECONDS:
            try:
                return self._connection.post_events(events, path)
            except ServerUnreachable as error:
                if not error.retry_after_seconds:
                    raise
                SystemClock().pause(max(seconds, error.retry_after_seconds))
        return self._connection.post_events(events, path)

    def _refuse_to_go_on(self, new: Position) -> None:
        begun = self._position
        what = (
            f"{self._job.file} is not as it was when its import began"
            if begun.digest != new.digest
            else "the import was begun with other options: "
            + ", ".join(name for name, found in new.job.items() if begun.job.get(name) != found)
        )
        raise InputError(
            "import_differs",
            f"{what}. It stands at row {begun.row} ({self._job.position}); --restart begins anew",
        )


def _bar() -> Progress:
    columns = (TextColumn("importing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=error_console())


def _connection(url: str | None, key: str | None) -> ServerConnection:
    found = settings()
    api_key = key or found.api_key
    if not api_key:
        raise InputError("key_missing", "say --key or TALLYSTICK_API_KEY; see `tallystick keys`")
    return ServerConnection(url or f"http://{found.host}:{found.port}", api_key)


def _column(text: str) -> tuple[str, str]:
    field, separator, column = text.partition("=")
    if not separator or not column:
        raise InputError("bad_column", f"{text!r} is not FIELD=COLUMN")
    return field, column


def _character(name: str, text: str) -> str:
    if len(text) != 1 or text in "\r\n":
        raise InputError(f"bad_{name}", f"the {name} is one character, and {text!r} is not")
    return text


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise InputError("bad_encoding", f"{name!r} is no encoding that is known") from None
    return name


def _print_tally(tally: ImportTally) -> None:
    out = console()
    position = tally.position
    out.print(
        f"{position.rows:,} rows: {position.accepted:,} accepted, {position.duplicates:,} "
        f"duplicates, {position.refused:,} refused"
    )
    if tally.resumed_after_row:
        out.print(f"went on after row {tally.resumed_after_row:,}")
    for refused in tally.shown:
        out.print(
            f"row {refused['row']}: {refused['status']} ({refused['code']}) {refused['detail']}",
            markup=False,
        )
    if position.refused:
        out.print(f"all refused rows: {tally.refused_file}", markup=False, soft_wrap=True)
    if position.job["is_history"] and position.accepted:
        out.print("it is history: Stripe is not told of it (--report would)")
