"""Rows of past usage on their way to become events, and what is told about reading them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import NamedTuple

from tallystick.domain.instants import format_instant

_OFFSET = re.compile(r"(?:[Zz]|[+-]\d\d:?\d\d)$")
_FINER = re.compile(r"(\.\d{6})(\d+)")
_PLACES = {"s": 6, "ms": 3, "us": 0, "ns": -3}


class HistoryFormat(StrEnum):
    """What a file of past usage is."""

    ACCESS_LOG = "access-log"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class EpochUnit(StrEnum):
    """The unit of times that are numbers since 1970."""

    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"


class HistoryRow(NamedTuple):
    """One row: an event's JSON, or the code and the detail of why it is none.

    ``row`` is the line that it begins in, the first one being 1; in Parquet, the row.
    """

    row: int
    event: bytes | None
    code: str | None = None
    detail: str | None = None


class HistoryError(ValueError):
    """A file that cannot be read, or not as it was told; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RowRefused(ValueError):
    """A row that cannot become an event; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How rows become events.

    ``event_type`` and ``source`` are those of events whose row has none. ``columns`` says by field
    which column holds it, where that is not the column of the field's name; ``properties`` and
    ``ignored`` name further columns, ``*`` all of them. ``epoch_unit`` None: times are RFC 3339.
    ``assume_utc`` takes times without an offset.
    """

    event_type: str | None = None
    source: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    properties: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8-sig"
    epoch_unit: EpochUnit | None = None
    assume_utc: bool = False


def text_time(text: str, options: ReadingOptions) -> str:
    """Return a time in RFC 3339, to the microsecond.

    Raises:
        RowRefused: ``time_invalid``; ``time_inexact`` for a time that is finer.
    """
    if options.epoch_unit is not None:
        try:
            return epoch_time(Decimal(text), options.epoch_unit)
        except InvalidOperation:
            raise RowRefused("time_invalid", f"{text!r} is not a number of time") from None
    found = _FINER.search(text)
    if found:
        if found[2].strip("0"):
            raise _too_fine(text)
        text = text[: found.start(2)] + text[found.end(2) :]
    return text + "Z" if options.assume_utc and not _OFFSET.search(text) else text


def epoch_time(number: Decimal | int, unit: str) -> str:
    """Return a time since 1970 in RFC 3339, to the microsecond.

    Raises:
        RowRefused: ``time_invalid``; ``time_inexact`` for a time that is finer.
    """
    try:
        instant = Decimal(number).scaleb(_PLACES[unit])
        if instant != instant.to_integral_value():
            raise _too_fine(f"{number} {unit}")
        return format_instant(int(instant))
    except (InvalidOperation, OverflowError, ValueError) as error:
        if isinstance(error, RowRefused):
            raise
        raise RowRefused("time_invalid", f"{number} {unit} since 1970 is no time") from None


def _too_fine(shown: str) -> RowRefused:
    return RowRefused(
        "time_inexact", f"{shown!r} is finer than a microsecond, and no time is rounded"
    )


def object_text(text: str) -> str:
    """Return the JSON of an object as one line.

    Raises:
        RowRefused: ``properties_invalid``
    """
    try:
        is_object = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise RowRefused("properties_invalid", "the properties are not a JSON object")
    return text.replace("\r", " ").replace("\n", " ")


def event_json(fields: dict[str, str], properties: str | None) -> bytes:
    """Return an event's JSON; a value goes as text, which keeps every digit."""
    body = json.dumps(fields, separators=(",", ":"))
    if properties is not None:
        body = f'{body[:-1]},"properties":{properties}}}'
    return body.encode()
