"""Files of past usage become events: each column in its place, every digit and microsecond kept."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.client.history_files import LINE_BYTES_MAX, HistoryFile
from tallystick.client.history_rows import (
    EpochUnit,
    HistoryError,
    HistoryFormat,
    HistoryRow,
    ReadingOptions,
)
from tallystick.domain.instants import format_instant, parse_instant

if TYPE_CHECKING:
    from pathlib import Path

NOW = parse_instant("2026-03-01T12:00:00.123456Z")


def rows_of(
    path: Path, file_format: HistoryFormat, options: ReadingOptions, after_row: int = 0
) -> list[HistoryRow]:
    return list(HistoryFile(path, file_format, options).rows(after_row))


def events_of(path: Path, file_format: HistoryFormat, options: ReadingOptions) -> list[Any]:
    found = rows_of(path, file_format, options)
    return [json.loads(row.event) if row.event else row.code for row in found]


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "usage.csv"
    path.write_text(text, "utf-8")
    return path


def from_csv(folder: Path, text: str, **options: Any) -> list[Any]:
    return events_of(csv_file(folder, text), HistoryFormat.CSV, ReadingOptions(**options))


def parquet_file(folder: Path, columns: dict[str, pyarrow.Array], **how: Any) -> Path:
    path = folder / "usage.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path, **how)
    return path


def from_parquet(folder: Path, columns: dict[str, pyarrow.Array], **options: Any) -> list[Any]:
    path = parquet_file(folder, columns)
    return events_of(path, HistoryFormat.PARQUET, ReadingOptions(**options))


def test_columns_of_csv_are_fields_by_their_names_or_as_told(tmp_path: Path) -> None:
    text = (
        "id,account,type,time,units,region,note\r\n"
        'a,"Acme, Inc.",call,2026-03-01T12:00:00Z,0.10,eu,"two\r\nlines"\r\n'
        "\r\n"
        "b,bolt,call,2026-03-01T13:00:00+01:00,1000000000000001,,\r\n"
    )
    options: dict[str, Any] = {
        "columns": (("customer", "account"), ("value", "units")),
        "properties": ("region",),
        "ignored": ("note",),
    }
    assert from_csv(tmp_path, text, **options) == [
        {
            "id": "a",
            "type": "call",
            "customer": "Acme, Inc.",
            "time": "2026-03-01T12:00:00Z",
            "value": "0.10",
            "properties": {"region": "eu"},
        },
        {
            "id": "b",
            "type": "call",
            "customer": "bolt",
            "time": "2026-03-01T13:00:00+01:00",
            "value": "1000000000000001",
            "properties": {},
        },
    ]
    numbers = [
        row.row
        for row in rows_of(tmp_path / "usage.csv", HistoryFormat.CSV, ReadingOptions(**options))
    ]
    assert numbers == [2, 5]  # the lines in which they begin


def test_another_dialect_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_bytes("customer\ttime\n'Zoë\t1'\t1772366400\n".encode("latin-1"))
    options = ReadingOptions(
        event_type="call",
        source="crm",
        delimiter="\t",
        quote="'",
        encoding="latin-1",
        epoch_unit=EpochUnit.S,
    )
    (event,) = events_of(path, HistoryFormat.CSV, options)
    assert event.pop("id").endswith("-2")
    assert event == {
        "type": "call",
        "source": "crm",
        "customer": "Zoë\t1",
        "time": "2026-03-01T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("header", "options", "code", "named"),
    [
        ("customer,time,valeu", {"event_type": "x"}, "columns_left", "valeu"),
        ("customer,time,time", {"event_type": "x"}, "columns_repeated", "time"),
        ("customer,time", {}, "field_missing", "type"),
        ("customer", {"event_type": "x"}, "field_missing", "time"),
        ("customer,time,type", {"event_type": "x"}, "field_twice", "type"),
        ("customer,time", {"columns": (("value", "no"),)}, "unknown_column", "no"),
        ("customer,time", {"columns": (("amount", "time"),)}, "unknown_field", "amount"),
        ("customer,time,properties,a", {"event_type": "x", "properties": ("a",)}, "field_twice",
         "properties"),
        ("", {}, "no_header", "columns"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_are_named_before_anything_is_sent(
    tmp_path: Path, header: str, options: dict[str, Any], code: str, named: str
) -> None:
    with pytest.raises(HistoryError, match=named) as caught:
        from_csv(tmp_path, header, **options)
    assert caught.value.code == code


def test_rows_that_cannot_be_events_cost_no_others(tmp_path: Path) -> None:
    text = (
        "customer,time,properties\n"
        "acme,2026-03-01T12:00:00.1234567Z,\n"
        "acme,2026-03-01T12:00:00.1234560Z,\n"
        "acme,2026-03-01T12:00:00Z\n"
        'acme,2026-03-01T12:00:00Z,"[1]"\n'
        'acme,2026-03-01T12:00:00Z,"{""a"": 1.10}"\n'
    )
    found = from_csv(tmp_path, text, event_type="x")
    assert [found[0], found[2], found[3]] == [
        "time_inexact",
        "unreadable_row",
        "properties_invalid",
    ]
    assert found[1]["time"] == "2026-03-01T12:00:00.123456Z"
    assert found[4]["properties"] == {"a": 1.1}


def test_a_quote_that_is_never_closed_ends_the_import(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="line 3") as caught:
        from_csv(tmp_path, 'customer,time\na,b\n"a,b\nc,d\n', event_type="x")
    assert caught.value.code == "invalid_csv"


quantities = st.decimals(-(10**9), 10**9, places=6, allow_nan=False)
instants = st.integers(0, parse_instant("2200-01-01"))


@given(st.lists(st.tuples(quantities, instants), min_size=1, max_size=20))
def test_csv_keeps_every_digit_and_microsecond(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[Decimal, int]]
) -> None:
    text = io.StringIO()
    writing = csv.writer(text)
    writing.writerow(["customer", "time", "value"])
    writing.writerows(["acme", at, value] for value, at in made)
    folder = tmp_path_factory.mktemp("csv")
    found = from_csv(folder, text.getvalue(), event_type="x", epoch_unit=EpochUnit.US)
    assert [(Decimal(event["value"]), parse_instant(event["time"])) for event in found] == made


@given(
    st.lists(st.tuples(quantities, instants), min_size=1, max_size=20),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
def test_parquet_keeps_every_digit_and_microsecond(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[Decimal, int]], unit: str
) -> None:
    factor = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}[unit]
    at = [at // factor * (1_000 if unit == "ns" else 1) for _, at in made]
    columns = {
        "customer": pyarrow.array(["acme"] * len(made)).dictionary_encode(),
        "time": pyarrow.array(at, pyarrow.timestamp(unit, "UTC")),
        "value": pyarrow.array([value for value, _ in made], pyarrow.decimal128(38, 6)),
    }
    found = from_parquet(tmp_path_factory.mktemp("parquet"), columns, event_type="x")
    shown = [(Decimal(event["value"]), parse_instant(event["time"])) for event in found]
    assert shown == [(value, at // factor * factor) for value, at in made]


def test_what_parquet_cannot_say_exactly_is_refused(tmp_path: Path) -> None:
    ns = NOW * 1_000
    found = from_parquet(
        tmp_path,
        {
            "customer": pyarrow.array(["a", "b", "c", "d", None]),
            "time": pyarrow.array([ns, ns, ns, ns + 1, ns], pyarrow.timestamp("ns", "UTC")),
            "value": pyarrow.array([2.5, 0.1, float("nan"), 1.0, 1.0]),
        },
        event_type="x",
    )
    assert found[0]["value"] == "2.5"
    assert found[0]["time"] == format_instant(NOW)
    assert found[1:] == ["value_inexact", "value_inexact", "time_inexact", "customer_missing"]


def test_properties_of_parquet(tmp_path: Path) -> None:
    made = {
        "customer": pyarrow.array([7]),
        "type": pyarrow.array(["x"]),
        "time": pyarrow.array([parse_instant("2026-03-01") // 1_000], pyarrow.timestamp("ms")),
        "region": pyarrow.array(["eu"]),
        "tokens": pyarrow.array([12], pyarrow.uint16()),
        "cost": pyarrow.array([Decimal("0.10")]),
        "nested": pyarrow.array([{"a": [True, None]}]),
        "at": pyarrow.array([1], pyarrow.timestamp("ns")),
        "none": pyarrow.array([None], pyarrow.string()),
        "unwanted": pyarrow.array([timedelta(1)]),
    }
    (event,) = from_parquet(
        tmp_path, made, properties=("*",), ignored=("unwanted",), assume_utc=True
    )
    assert event["customer"] == "7"
    assert event["time"] == "2026-03-01T00:00:00Z"
    assert event["properties"] == {
        "region": "eu",
        "tokens": 12,
        "cost": "0.1",
        "nested": {"a": [True, None]},
        "at": "1970-01-01 00:00:00.000000001",
    }


@pytest.mark.parametrize(
    ("column", "made", "named"),
    [
        ("time", pyarrow.array([NOW], pyarrow.timestamp("us")), "without an offset"),
        ("time", pyarrow.array([NOW]), "--time-unit"),
        ("value", pyarrow.array([True]), "cannot be value"),
        ("customer", pyarrow.array([1.5]), "cannot be customer"),
    ],
)
def test_columns_of_a_type_that_cannot_be_are_named(
    tmp_path: Path, column: str, made: pyarrow.Array, named: str
) -> None:
    columns = {
        "customer": pyarrow.array(["a"]),
        "time": pyarrow.array([NOW], pyarrow.timestamp("us", "UTC")),
        "value": pyarrow.array([1]),
        column: made,
    }
    with pytest.raises(HistoryError, match=named):
        from_parquet(tmp_path, columns, event_type="x")


def test_reading_goes_on_behind_any_row(tmp_path: Path) -> None:
    """Over the borders of row groups too, and of CSV's rows of several lines."""
    count = 25
    times = [NOW + number for number in range(count)]
    columns = {
        "customer": pyarrow.array(["a"] * count),
        "time": pyarrow.array(times, pyarrow.timestamp("us", "UTC")),
    }
    options = ReadingOptions(event_type="x", properties=("*",))
    path = parquet_file(tmp_path, columns, row_group_size=7)
    text = "customer,time,note\n" + "".join(
        f'a,{datetime(2026, 3, 1, tzinfo=UTC).isoformat()},"{number}\n"\n' for number in range(9)
    )
    for file_format, file in (
        (HistoryFormat.PARQUET, path),
        (HistoryFormat.CSV, csv_file(tmp_path, text)),
    ):
        everything = rows_of(file, file_format, options)
        for place, row in enumerate(everything):
            assert everything[place + 1 :] == rows_of(file, file_format, options, row.row)


def test_lines_of_json_are_passed_on_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "usage.ndjson.gz"
    lines = b'{"id": "a", "value": 1.10}\n\n  {"id":\r"b"}\r\n' + b"x" * (LINE_BYTES_MAX + 5)
    path.write_bytes(gzip.compress(lines + b"\nend"))
    found = rows_of(path, HistoryFormat.NDJSON, ReadingOptions())
    assert [(row.row, row.event) for row in found] == [
        (1, b'{"id": "a", "value": 1.10}'),
        (3, b'{"id": "b"}'),
        (4, None),
        (5, b"end"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "file_format", "code"),
    [
        ("u.gz", gzip.compress(b"x" * 1_000, mtime=0)[:-9], HistoryFormat.NDJSON, "broken_gzip"),
        ("u.gz", b"no gzip", HistoryFormat.NDJSON, "broken_gzip"),
        ("u.parquet", b"no parquet", HistoryFormat.PARQUET, "invalid_parquet"),
        ("u.csv", b"customer,time\n\xff,\n", HistoryFormat.CSV, "invalid_encoding"),
    ],
)
def test_a_broken_file_is_said_to_be_one(
    tmp_path: Path, name: str, content: bytes, file_format: HistoryFormat, code: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(HistoryError) as caught:
        rows_of(path, file_format, ReadingOptions(event_type="x"))
    assert caught.value.code == code
