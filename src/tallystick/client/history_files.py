"""Files of past usage, read as events: access logs, NDJSON, CSV and Parquet."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zlib
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tallystick.client.history_rows import (
    HistoryError,
    HistoryFormat,
    HistoryRow,
    ReadingOptions,
)
from tallystick.client.history_tables import csv_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_LOG_LINE = re.compile(
    r"(?P<host>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<size>\d+|-)(?: |$)'
)
_DIGEST_CHARS = 16
_BLOCK_BYTES = 1 << 20

LINE_BYTES_MAX = 1 << 20
"""Bytes of a line that can be an event: properties have 16 KiB, and this bounds the memory."""

LOG_EVENT_TYPE = "http_request"
LOG_SOURCE = "access-log"
"""Type and source of events made of log lines, if no others are given."""


class HistoryFile:
    """A file of past usage; ``.gz`` is unpacked.

    A row without an id gets one from the digest of the file's content and its number, so that the
    same file imported twice counts once, and two equal lines count twice.

    Raises:
        OSError: the file cannot be read.
        HistoryError: it is not what it was said to be.
    """

    def __init__(self, path: Path, file_format: HistoryFormat, options: ReadingOptions) -> None:
        self._path = path
        self._format = file_format
        self._options = options
        self._stat = _stat(path)
        self.digest = content_digest(path)
        """SHA-256 of the unpacked content, in hexadecimal."""
        self.size = self._stat[0]
        """How much there is to read, to hold ``done`` against: bytes, or rows of Parquet."""
        self.done = 0
        if file_format is HistoryFormat.PARQUET:
            from tallystick.client.history_parquet import count_rows

            self.size = count_rows(path)

    def rows(self, after_row: int = 0) -> Iterator[HistoryRow]:
        """Return the rows in order, from beyond one on."""
        if self._format is HistoryFormat.PARQUET:
            from tallystick.client.history_parquet import parquet_rows

            for row in parquet_rows(self._path, self._row_digest, self._options, after_row):
                self.done = row.row
                yield row
            return
        with self._path.open("rb") as plain, _unpacked(plain, self._path) as file:
            for row in self._line_rows(file):
                self.done = plain.tell()
                if row.row > after_row:
                    yield row

    def has_changed(self) -> bool:
        """Tell whether the file is another one by now than it was."""
        return _stat(self._path) != self._stat

    @property
    def _row_digest(self) -> str:
        return self.digest[:_DIGEST_CHARS]

    def _line_rows(self, file: BinaryIO) -> Iterator[HistoryRow]:
        match self._format:
            case HistoryFormat.CSV:
                with io.TextIOWrapper(file, self._options.encoding, newline="") as text:
                    try:
                        yield from csv_rows(text, self._row_digest, self._options)
                    except UnicodeDecodeError as error:
                        raise HistoryError("invalid_encoding", str(error)) from None
            case HistoryFormat.NDJSON:
                yield from (_json_row(number, line) for number, line in _lines(file))
            case _:
                log = _LogRows(self._row_digest, self._options)
                yield from (log.row(number, line) for number, line in _lines(file))


def content_digest(path: Path) -> str:
    """Return the SHA-256 of the file's unpacked content, in hexadecimal.

    Raises:
        HistoryError: it is broken.
    """
    digest = hashlib.sha256()
    with path.open("rb") as plain, _unpacked(plain, path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _unpacked(plain: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield plain
        return
    try:
        with gzip.open(plain) as unpacked:
            yield unpacked  # type: ignore[misc]  # typed as a GzipFile
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise HistoryError("broken_gzip", f"{path} cannot be unpacked: {error}") from None


def _stat(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Return the lines that are not blank, numbered; a line that is too long, cut off."""
    number = 0
    while raw := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        is_cut = len(raw) > LINE_BYTES_MAX and not raw.endswith(b"\n")
        while is_cut and (rest := file.readline(_BLOCK_BYTES)) and not rest.endswith(b"\n"):
            pass
        line = raw.strip()
        if line:
            yield number, line


class _LogRows:
    def __init__(self, digest: str, options: ReadingOptions) -> None:
        self._digest = digest
        self._event_type = options.event_type or LOG_EVENT_TYPE
        self._source = options.source or LOG_SOURCE

    def row(self, number: int, line: bytes) -> HistoryRow:
        found = _LOG_LINE.match(line.decode("utf-8", "replace"))
        if found is None or len(line) > LINE_BYTES_MAX:
            return HistoryRow(number, None, "unreadable_row", "is not in the combined log format")
        try:
            moment = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
        except ValueError:
            return HistoryRow(
                number, None, "time_invalid", f"has the time {found['time']!r}, which is none"
            )
        method, _, target = found["request"].partition(" ")
        return HistoryRow(
            number,
            _compact(
                {
                    "id": f"{self._digest}-{number}",
                    "source": self._source,
                    "type": self._event_type,
                    "customer": found["host"],
                    "time": moment.isoformat(),
                    "value": 0 if found["size"] == "-" else int(found["size"]),
                    "properties": {
                        "method": method,
                        "path": target.rpartition(" ")[0] or target,
                        "status": int(found["status"]),
                    },
                }
            ),
        )


def _compact(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _json_row(number: int, line: bytes) -> HistoryRow:
    """Pass the line on as it is: reading and writing it again could change a number."""
    if len(line) > LINE_BYTES_MAX:
        return HistoryRow(
            number, None, "unreadable_row", f"the line has over {LINE_BYTES_MAX:,} bytes"
        )
    return HistoryRow(number, line.replace(b"\r", b" "))  # which would end a line of the body
