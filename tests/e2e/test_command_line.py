"""The command line against a real sandbox: answers, exit codes, and what is never printed."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from tallystick.billing.catalog_file import read_catalog
from tallystick.cli.local_servers import LocalServer
from tallystick.cli.main import app
from tallystick.domain.instants import HOUR_US, parse_instant
from tallystick.wiring import Tallystick
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.stripe_account import environment_of

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.config import Settings

START = parse_instant("2015-05-01")


def commands(group: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in getattr(group, "commands", {}).items():
        inner = commands(command, (*prefix, name))
        found += inner or [(*prefix, name)]
    return found


COMMANDS = commands(typer.main.get_command(app))

PROMISED = {
    "init",
    "serve",
    "keys create",
    "customers link",
    "apply",
    "import",
    "usage",
    "preview",
    "flush",
    "verify",
    "sandbox",
    "demo",
    "doctor",
    "rate",
}

PRINT_NO_DATA = {"serve", "worker", "sandbox", "demo"}
PRINT_JSON_ANYWAY = {"schema"}


def test_the_promised_commands_exist() -> None:
    assert {" ".join(command) for command in COMMANDS} >= PROMISED


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    shown = tallystick(*command, "--help", environment={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.returncode == 0
    assert "Example:" in shown.stdout
    assert f"tallystick {' '.join(command)}" in re.sub(r"\s+", " ", shown.stdout)
    if " ".join(command) not in PRINT_NO_DATA | PRINT_JSON_ANYWAY:
        assert "--json" in shown.stdout


@pytest.fixture
def environment(stripe_settings: Settings) -> dict[str, str]:
    """A new installation with the example's catalog."""
    environment = environment_of(stripe_settings)
    assert answer_of("init", environment=environment)["schema_version"] >= 1
    answer_of("apply", str(CATALOG_FILE), environment=environment)
    return environment


@pytest.fixture
def subscriber(stripe_settings: Settings, environment: dict[str, str]) -> tuple[str, str]:
    """A Stripe customer subscribed to the example's prices, and its test clock."""
    with Tallystick(stripe_settings) as product:
        rehearsal = product.stripe.rehearsal
        prices = answer_of("apply", str(CATALOG_FILE), environment=environment)["prices"]
        clock_id = rehearsal.create_clock(START, "test")
        customer_id = rehearsal.create_customer("acme", clock_id)
        rehearsal.subscribe(customer_id, list(prices.values()))
    return customer_id, clock_id


def test_the_whole_line_by_hand(
    environment: dict[str, str],
    subscriber: tuple[str, str],
    stripe_settings: Settings,
    tmp_path: Path,
) -> None:
    stripe_customer, clock_id = subscriber
    linked = answer_of("customers", "link", "acme", stripe_customer, environment=environment)
    assert linked == {
        "customer": "acme",
        "stripe_customer": stripe_customer,
        "test_clock": clock_id,
        "new": True,
        "metered_items": 2,
    }
    key = answer_of("keys", "create", "test", environment=environment)["key"]
    events = tmp_path / "events.ndjson"
    events.write_text(
        "".join(
            json.dumps(
                {
                    "id": f"e{number}",
                    "type": "http_request",
                    "customer": "acme",
                    "time": f"2015-05-{1 + number % 5:02d}T10:00:00Z",
                    "value": 1_000_000,
                }
            )
            + "\n"
            for number in range(150)
        )
    )
    with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server:
        sent = answer_of(
            *("import", str(events), "--report", "--url", server.url, "--key", key),
            environment=environment,
        )
    assert (sent["rows"], sent["accepted"], sent["refused"]) == (150, 150, 0)
    assert not sent["is_history"]

    shown = answer_of(
        *("usage", "acme", "--from", "2015-05-01", "--to", "2015-05-06", "--window", "day"),
        environment=environment,
    )
    requests, bandwidth = shown["usage"]
    assert (requests["meter"], requests["quantity"]) == ("api_requests", "150")
    assert [window["quantity"] for window in requests["windows"]] == ["30"] * 5
    assert bandwidth["quantity"] == "150000000"

    with Tallystick(stripe_settings) as product:
        product.stripe.rehearsal.advance(clock_id, START + 24 * 6 * HOUR_US)
        product.stripe.rehearsal.wait_until_ready(clock_id)
    bill = answer_of("preview", "acme", environment=environment)
    assert bill["amount"] == 100 + 40 + 750
    amounts = {item["meter"]: [line["amount"] for line in item["lines"]] for item in bill["items"]}
    assert amounts == {"api_requests": [100, 40], "bandwidth_bytes": [750]}

    flushed = answer_of("flush", environment=environment)
    assert flushed == {"due": {"reported": 2}, "outbox": {"delivered": 2}}
    checks = answer_of("verify", environment=environment)
    assert checks["ok"]
    by_name = {check["name"]: check["checked"] for check in checks["checks"]}
    assert by_name == {
        "events_counted_once": 150,
        "usage_equals_recount": 5,
        "reports_unchanged": 2,
        "reports_equal_usage": 2,
        "report_totals": 2,
        "stripe_equals_delivered": 2,
    }


def test_verify_names_the_cell_that_was_altered(
    environment: dict[str, str], tmp_path: Path
) -> None:
    key = answer_of("keys", "create", "test", environment=environment)["key"]
    events = tmp_path / "events.ndjson"
    events.write_text(
        '{"id":"a","type":"http_request","customer":"acme","time":"2015-05-18T10:20:00Z"}\n'
    )
    with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server:
        answer_of(
            *("import", str(events), "--report", "--url", server.url, "--key", key),
            environment=environment,
        )
    assert tallystick("verify", "--no-stripe", environment=environment).returncode == 0
    path = environment["TALLYSTICK_DATABASE_URL"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        altered = connection.execute("UPDATE usage_rollups SET event_count = event_count + 1")
        assert altered.rowcount == 1  # both meters read it
    connection.close()
    done = tallystick("verify", "--no-stripe", environment=environment)
    assert done.returncode == 1
    assert (
        "hour 2015-05-18T10:00:00Z, meter api_requests, bandwidth_bytes, customer acme"
        in done.stdout
    )
    assert "FAIL usage_equals_recount" in done.stdout


def test_doctor_says_what_is_there_and_prints_no_secret(environment: dict[str, str]) -> None:
    secrets = {
        "TALLYSTICK_STRIPE_API_KEY": environment["TALLYSTICK_STRIPE_API_KEY"],
        "TALLYSTICK_WEBHOOK_SECRETS": "whsec_verysecret,whsec_older",
        "TALLYSTICK_API_KEY": "tsk_verysecret",
    }
    for form in ((), ("--json",)):
        done = tallystick("doctor", *form, environment={**environment, **secrets})
        assert done.returncode == 0, done.stdout
        assert "test mode" in done.stdout
        assert "api_requests, bandwidth_bytes" in done.stdout
        for secret in ("verysecret", "whsec", environment["TALLYSTICK_STRIPE_API_KEY"][8:]):
            assert secret not in done.stdout + done.stderr


def test_doctor_tells_what_is_wrong_from_what_cannot_be_reached(
    environment: dict[str, str], tmp_path: Path
) -> None:
    nothing = {"TALLYSTICK_DATABASE_URL": f"sqlite:///{tmp_path / 'none.db'}"}
    done = tallystick("doctor", environment=nothing)
    assert done.returncode == 1
    assert "`tallystick init` makes it" in done.stdout
    unreachable = {**environment, "TALLYSTICK_STRIPE_API_BASE": "http://127.0.0.1:9"}
    done = tallystick("doctor", environment=unreachable)
    assert done.returncode == 3
    assert re.search(r"unreachable\s+stripe", done.stdout)
    done = tallystick("doctor", environment={"TALLYSTICK_PORT": "http"})
    assert done.returncode == 1
    assert "TALLYSTICK_PORT" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("usage", "acme", "--from", "someday"), 2, "invalid_period"),
        (("usage", "acme", "--from", "2015-05-01", "--meter", "none"), 2, "unknown_meter"),
        (("usage", "acme", "--from", "2015-05-01", "--window", "week"), 2, "invalid_window"),
        (("preview", "nobody"), 2, "not_linked"),
        (("customers", "link", "acme", "cus_none"), 2, "stripe_refused"),
        (("apply", "no_such_file.yaml"), 2, "bad_catalog"),
        (("import", "no_such_file", "--key", "k"), 2, "no_file"),
        (("import", str(CATALOG_FILE)), 2, "key_missing"),
        (
            ("import", str(CATALOG_FILE), "--key", "k", "--url", "http://127.0.0.1:9"),
            3,
            "server_unreachable",
        ),
    ],
)
def test_what_goes_wrong_has_a_code_a_sentence_and_an_exit_code(
    environment: dict[str, str], arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    done = tallystick(*arguments, "--json", environment=environment)
    assert done.returncode == exit_code, done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code
    assert error["message"]
    spoken = tallystick(*arguments, environment=environment)
    assert spoken.returncode == exit_code
    assert code in spoken.stderr
    assert "Traceback" not in spoken.stderr


def test_stripe_out_of_reach_exits_3(environment: dict[str, str]) -> None:
    away = {**environment, "TALLYSTICK_STRIPE_API_BASE": "http://127.0.0.1:9"}
    assert tallystick("flush", environment=away).returncode == 3
    assert tallystick("apply", str(CATALOG_FILE), environment=away).returncode == 3


def test_a_command_without_a_database_says_how_to_make_one(tmp_path: Path) -> None:
    done = tallystick("verify", folder=tmp_path)
    assert done.returncode == 2
    assert "tallystick init" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_settings_come_from_the_file_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "tallystick.yaml").write_text("database_url: sqlite:///from_file.db\nport: 1\n")
    assert tallystick("init", folder=tmp_path).returncode == 0
    assert (tmp_path / "from_file.db").exists()
    over = {"TALLYSTICK_DATABASE_URL": "sqlite:///from_environment.db"}
    assert tallystick("init", environment=over, folder=tmp_path).returncode == 0
    assert (tmp_path / "from_environment.db").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://localhost/x"),
        ("STRIPE_RATE", "0"),
        ("STRIPE_RATE", "fast"),
        ("PORT", "70000"),
        ("STRIPE_API_BASE", "localhost:12111"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, tmp_path: Path) -> None:
    done = tallystick("init", environment={f"TALLYSTICK_{name}": value}, folder=tmp_path)
    assert done.returncode == 2
    assert name.lower() in done.stderr.lower()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tallystick.yaml").write_text("databse_url: sqlite:///x.db\n")
    done = tallystick("init", folder=tmp_path)
    assert done.returncode == 2
    assert "databse_url" in done.stderr


def test_two_servers_cannot_share_a_port(environment: dict[str, str], tmp_path: Path) -> None:
    with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server:
        port = server.url.rpartition(":")[2]
        done = tallystick("serve", "--port", port, environment=environment)
    assert done.returncode == 2
    assert "cannot listen" in done.stderr


def test_the_example_catalog_is_the_one_that_the_demo_bills() -> None:
    catalog = read_catalog(CATALOG_FILE)
    assert [meter.key for meter in catalog.meters] == ["api_requests", "bandwidth_bytes"]
