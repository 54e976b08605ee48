"""Files of past usage, read as events: access logs in the combined format, and NDJSON."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from io import BufferedIOBase
    from pathlib import Path

_LOG_LINE = re.compile(
    r"(?P<host>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<size>\d+|-)(?: |$)'
)
_DIGEST_CHARS = 16
_BLOCK_BYTES = 1 << 20


class HistoryFormat(StrEnum):
    """What the lines of a file are."""

    ACCESS_LOG = "access-log"
    NDJSON = "ndjson"


class HistoryRow(NamedTuple):
    """One line: an event's JSON, or the reason why it is none."""

    line: int
    event: bytes | None
    refusal: str | None = None


class LineNames(NamedTuple):
    """What events made of log lines are called."""

    event_type: str
    source: str


def read_history(path: Path, file_format: HistoryFormat, names: LineNames) -> Iterator[HistoryRow]:
    """Return the file's lines as events; ``.gz`` is unpacked.

    A log line has no id of its own: its event gets one from the digest of the file's content and
    the line's number, so that the same file imported twice counts once, and two equal lines count
    twice.

    Raises:
        OSError: the file cannot be read.
    """
    digest = content_digest(path)[:_DIGEST_CHARS] if file_format is HistoryFormat.ACCESS_LOG else ""
    parse: Callable[[int, bytes], HistoryRow] = (
        _json_row if file_format is HistoryFormat.NDJSON else _LogRows(digest, names).row
    )
    with _opened(path) as file:
        for number, raw in enumerate(file, 1):
            line = raw.strip()
            if line:
                yield parse(number, line)


def count_lines(path: Path) -> int:
    """Return how many lines the file has, for a progress bar."""
    with _opened(path) as file:
        return sum(1 for _ in file)


def content_digest(path: Path) -> str:
    """Return the SHA-256 of the file's unpacked content, in hexadecimal."""
    digest = hashlib.sha256()
    with _opened(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    with path.open("rb") as plain:
        if path.suffix == ".gz":
            with gzip.open(plain) as unpacked:
                yield unpacked
        else:
            yield plain


class _LogRows:
    def __init__(self, digest: str, names: LineNames) -> None:
        self._digest = digest
        self._names = names

    def row(self, number: int, line: bytes) -> HistoryRow:
        found = _LOG_LINE.match(line.decode("utf-8", "replace"))
        if found is None:
            return HistoryRow(number, None, "is not in the combined log format")
        try:
            moment = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
        except ValueError:
            return HistoryRow(number, None, f"has the time {found['time']!r}, which is none")
        method, _, target = found["request"].partition(" ")
        return HistoryRow(
            number,
            _compact(
                {
                    "id": f"{self._digest}-{number}",
                    "source": self._names.source,
                    "type": self._names.event_type,
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


def _json_row(number: int, text: bytes) -> HistoryRow:
    """Pass the line on as it is: reading and writing it again could change a number."""
    return HistoryRow(number, text)
