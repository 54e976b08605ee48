"""`tallystick import` as its users run it: what goes wrong is said, and nothing counts twice."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet
import pytest

from tallystick.domain.instants import parse_instant
from tallystick.domain.periods import Period
from tests.fixtures.commands import tallystick
from tests.fixtures.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.wiring import Tallystick

MAY = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))
AT = parse_instant("2015-05-18T10:00:00Z")
CSV = ("--format", "csv", "--event-type", "http_request")


class Importing:
    """Runs the command against a server."""

    def __init__(self, url: str, key: str) -> None:
        self.environment = {"TALLYSTICK_API_KEY": key}
        self.url = url

    def run(self, exit_code: int, *arguments: object) -> dict[str, Any]:
        command = ("import", *map(str, arguments), "--url", self.url, "--json")
        done = tallystick(*command, environment=self.environment)
        assert done.returncode == exit_code, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def importing(product: Tallystick) -> Iterator[Importing]:
    with served(product) as server:
        yield Importing(server.url, server.key)


def reportable(product: Tallystick, customer: str, meter_key: str) -> tuple[str, str]:
    """Return what a customer used in May, and what of it Stripe would be told."""
    meter = product.catalog.meters().by_key[meter_key]
    both = product.usage.usage_and_history(meter, customer, MAY)
    total = both.usage.total if meter_key == "bandwidth_bytes" else both.usage.event_count
    return str(total), str(both.reportable(meter.aggregation))


def write_csv(path: Path, count: int) -> Path:
    rows = [f"acme,2015-05-18T10:00:{number:02d}Z,{number}" for number in range(count)]
    path.write_text("\n".join(["customer,time,value", *rows]) + "\n", "utf-8")
    return path


def test_history_is_counted_and_kept_from_stripe_unless_told(
    importing: Importing, product: Tallystick, tmp_path: Path
) -> None:
    first = write_csv(tmp_path / "first.csv", 10)
    tally = importing.run(0, first, *CSV)
    assert (tally["accepted"], tally["is_history"]) == (10, True)
    assert reportable(product, "acme", "api_requests") == ("10", "0")
    assert reportable(product, "acme", "bandwidth_bytes") == ("45", "0")

    second = write_csv(tmp_path / "second.csv", 4)
    tally = importing.run(0, second, *CSV, "--report")
    assert (tally["accepted"], tally["is_history"]) == (4, False)
    assert reportable(product, "acme", "api_requests") == ("14", "4")
    assert reportable(product, "acme", "bandwidth_bytes") == ("51", "6")

    again = importing.run(0, first, *CSV, "--report")  # history for ever
    assert (again["accepted"], again["duplicates"]) == (0, 10)
    assert reportable(product, "acme", "api_requests") == ("14", "4")


def test_parquet_is_imported_exactly(
    importing: Importing, product: Tallystick, tmp_path: Path
) -> None:
    path = tmp_path / "usage.parquet"
    times = pyarrow.array([AT, AT, AT + 1], pyarrow.timestamp("us", "UTC"))
    columns = {"who": pyarrow.array(["zoe", "zoe", "bob"]), "time": times}
    columns["value"] = pyarrow.array([10**14 + 1, 1, 7], pyarrow.int64())
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    options = ("--format", "parquet", "--event-type", "http_request", "--column", "customer=who")
    assert importing.run(0, path, *options)["accepted"] == 3
    assert reportable(product, "zoe", "bandwidth_bytes") == (str(10**14 + 2), "0")
    assert importing.run(0, path, *options)["duplicates"] == 3


def test_refused_rows_stand_in_a_file_with_their_reasons(
    importing: Importing, tmp_path: Path
) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(
        "customer,time,value\n"
        "acme,2015-05-18T10:00:00Z,1\n"
        ",2015-05-18T10:00:00Z,1\n"
        "acme,2015-05-18T10:00:00.0000001Z,1\n"
        "acme,2015-05-18T10:00:00Z,1e400\n"
        "acme,yesterday,1\n"
    )
    tally = importing.run(1, path, *CSV)
    assert (tally["rows"], tally["accepted"], tally["refused"]) == (5, 1, 4)
    assert tally["refused_file"] == f"{path}.refused.ndjson"
    text = (tmp_path / "usage.csv.refused.ndjson").read_text("utf-8")
    refused = [json.loads(line) for line in text.splitlines()]
    assert [(one["row"], one["code"]) for one in refused] == [
        (3, "customer_missing"),
        (4, "time_inexact"),
        (5, "value_too_many_digits"),
        (6, "time_invalid"),
    ]
    assert all(one["detail"] for one in refused)
    shown = tallystick(
        *("import", str(path), *CSV, "--url", importing.url), environment=importing.environment
    )
    assert shown.returncode == 1
    assert "5 rows: 0 accepted, 1 duplicates, 4 refused" in shown.stdout
    assert "row 4: invalid (time_inexact)" in shown.stdout


def test_an_import_goes_on_with_nothing_but_the_same(importing: Importing, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "usage.csv", 30)
    stands = {"digest": "0", "job": {}, "row": 11}
    kept = tmp_path / "usage.csv.import.json"
    kept.write_text(json.dumps(stands))
    answer = importing.run(2, path, *CSV)
    assert answer["error"]["code"] == "import_differs"
    assert "is not as it was when its import began" in answer["error"]["message"]
    assert "row 11" in answer["error"]["message"]
    kept.write_text("{")
    assert importing.run(2, path, *CSV)["error"]["code"] == "position_unreadable"
    tally = importing.run(0, path, *CSV, "--restart")
    assert (tally["accepted"], tally["resumed_after_row"]) == (30, 0)
    assert not kept.exists()


def test_a_position_that_cannot_be_kept_is_said_before_anything_is_sent(
    importing: Importing, product: Tallystick, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "usage.csv", 3)
    nowhere = tmp_path / "nowhere" / "position.json"
    answer = importing.run(2, path, *CSV, "--position", nowhere)
    assert answer["error"]["code"] == "position_unwritable"
    assert product.events.count() == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nowhere.csv",), "no_file"),
        (("--column", "value"), "bad_column"),
        (("--delimiter", "--"), "bad_delimiter"),
        (("--encoding", "klingon"), "bad_encoding"),
        (("--column", "value=amount"), "unknown_column"),
        (("--format", "parquet"), "invalid_parquet"),
    ],
)
def test_what_cannot_be_is_said(
    importing: Importing, tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    path = write_csv(tmp_path / "usage.csv", 3)
    if arguments[0].endswith(".csv"):
        path = tmp_path / arguments[0]
        arguments = ()
    answer = importing.run(2, path, *CSV, *arguments)
    assert answer["error"]["code"] == code
    assert list(tmp_path.glob("*.import.json")) == []


class Busy(BaseHTTPRequestHandler):
    """Takes nothing at first, and then everything."""

    asked: list[str] = []  # noqa: RUF012 - of the one server that a test has

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        results = [{"index": n, "id": "e", "status": "accepted"} for n in range(3)]
        body: dict[str, Any] = {"accepted": 3, "duplicates": 0, "results": results}
        self.send_response(429 if len(self.asked) == 1 else 200)
        self.send_header("Retry-After", "1")
        text = json.dumps(body).encode()
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_server_that_takes_nothing_now_is_waited_for(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        importing = Importing(f"http://127.0.0.1:{server.server_port}", "tsk_any")
        try:
            tally = importing.run(0, write_csv(tmp_path / "usage.csv", 3), *CSV)
        finally:
            server.shutdown()
            thread.join()
    assert tally["accepted"] == 3
    assert len(Busy.asked) >= 2  # more where an answer came so late that it was asked once more
    assert set(Busy.asked) == {"/v1/events/history"}


def test_without_pyarrow_parquet_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "usage.parquet"
    path.write_bytes(b"PAR1")
    (tmp_path / "pyarrow.py").write_text(
        "raise ModuleNotFoundError('No module named pyarrow', name='pyarrow')"
    )
    done = tallystick(
        *("import", str(path), "--format", "parquet", "--key", "tsk_any"),
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "pip install 'tallystick[parquet]'" in done.stderr
