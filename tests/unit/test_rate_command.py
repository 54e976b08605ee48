"""``tallystick rate``: its answer, its errors and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.cli.rate import rate

PRICE = """\
# a price as it would be sent, with a number that is not a string
currency: usd
billing_scheme: tiered
tiers_mode: graduated
product_data: {name: API requests}
recurring: {interval: month, usage_type: metered}
tiers:
  - {up_to: 1_000, unit_amount: 1}
  - {up_to: 10000, unit_amount_decimal: 0.8}
  - {up_to: .inf, unit_amount_decimal: "0.5"}
"""


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(rate)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def price_file(tmp_path: Path) -> Path:
    path = tmp_path / "price.yaml"
    path.write_text(PRICE)
    return path


def error_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert set(answer) == {"error"}
    error: dict[str, Any] = answer["error"]
    assert set(error) == {"code", "message", "param"}
    return error


def test_the_answer_has_currency_amount_lines_and_trace(price_file: Path) -> None:
    result = run("--price", str(price_file), "--usage", "10001", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "currency": "usd",
        "amount": 8201,
        "lines": [
            {
                "quantity": "1000",
                "amount": 1000,
                "description": "1000 × API requests (Tier 1 at $0.01 / month)",
            },
            {
                "quantity": "9000",
                "amount": 7200,
                "description": "9000 × API requests (Tier 2 at $0.008 / month)",
            },
            {
                "quantity": "1",
                "amount": 1,
                "description": "1 × API requests (Tier 3 at $0.005 / month)",
            },
        ],
        "trace": [
            "API requests: 10001 graduated over 3 tiers, in usd",
            "tier 1 (above 0 up to 1000): 1000 × $0.01 = $10.00",
            "tier 2 (above 1000 up to 10000): 9000 × $0.008 = $72.00",
            "tier 3 (above 10000): 1 × $0.005 = $0.005, rounded half up to $0.01",
            "total $10.00 + $72.00 + $0.01 = $82.01",
        ],
    }


def test_people_get_a_table_and_the_trace(price_file: Path) -> None:
    result = run("--price", str(price_file), "--usage", "1001")
    assert result.exit_code == 0
    assert "$10.01  total" in result.stdout
    assert "tier 2 (above 1000 up to 10000): 1 × $0.008 = $0.008, rounded half up" in result.stdout


def test_numbers_in_json_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "price.json"
    path.write_text('{"currency": "usd", "unit_amount_decimal": 0.000000000001, "id": "price_1"}')
    result = run("--price", str(path), "--usage", "999999999999.5", "--json")
    answer = json.loads(result.stdout)
    assert (answer["amount"], answer["lines"][0]["quantity"]) == (1, "999999999999.5")


@pytest.mark.parametrize("usage", ["0", "-4", "1E+3", "0.000000000001", "123456789012345678901"])
def test_any_decimal_total_can_be_rated(price_file: Path, usage: str) -> None:
    result = run("--price", str(price_file), "--usage", usage, "--json")
    assert result.exit_code == 0
    assert "E" not in json.loads(result.stdout)["lines"][0]["quantity"]


@pytest.mark.parametrize(
    ("usage", "code"),
    [
        ("many", "value_not_a_number"),
        ("", "value_not_a_number"),
        ("NaN", "value_not_finite"),
        ("-Infinity", "value_not_finite"),
        ("1E+30", "value_too_many_digits"),
        ("0.0000000000001", "value_too_many_decimals"),
    ],
)
def test_a_usage_that_is_none_is_refused(price_file: Path, usage: str, code: str) -> None:
    error = error_of(run("--price", str(price_file), "--usage", usage, "--json"))
    assert (code, "usage") == (error["code"], error["param"])


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (PRICE.replace(".inf", "20000"), "tiers_not_ending_in_inf", "tiers[2][up_to]"),
        (PRICE.replace("10000", "1000"), "tiers_not_ascending", "tiers[1][up_to]"),
        (PRICE + "transform_quantity: {divide_by: 5, round: up}\n",
         "transform_quantity_with_tiers", "transform_quantity"),
        (PRICE.replace("0.8", "0.1234567890123"), "amount_too_many_decimals",
         "tiers[1][unit_amount_decimal]"),
        (PRICE.replace("0.8", ".nan"), "amount_not_a_number", "tiers[1][unit_amount_decimal]"),
        ("- a\n- list\n", "price_not_an_object", None),
        ("", "price_not_an_object", None),
        ("a: [unclosed\n", "price_file_invalid", "price"),
        ('{"currency": ', "price_file_invalid", "price"),
        ('{"a":' * 100_000, "price_file_invalid", "price"),
        ("#" * 1_000_001, "price_file_invalid", "price"),
        ('{"currency": "usd", "unit_amount": NaN}', "float_refused", "unit_amount"),
        (f'{{"currency": "usd", "unit_amount": {"9" * 5000}}}', "price_file_invalid", "price"),
    ],
)  # fmt: skip
def test_a_price_that_cannot_be_is_refused(
    tmp_path: Path, content: str, code: str, param: str | None
) -> None:
    path = tmp_path / "price"
    path.write_text(content)
    error = error_of(run("--price", str(path), "--usage", "5", "--json"))
    assert (code, param) == (error["code"], error["param"])


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = error_of(run("--price", str(tmp_path / "none"), "--usage", "5", "--json"))
    assert error["code"] == "price_file_unreadable"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "price"
    path.write_bytes(b"\xff\xfe\x00")
    error = error_of(run("--price", str(path), "--usage", "5", "--json"))
    assert error["code"] == "price_file_invalid"


def test_without_json_the_error_goes_where_people_look_for_it(tmp_path: Path) -> None:
    result = run("--price", str(tmp_path / "none"), "--usage", "5")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert json.loads(result.stderr)["error"]["code"] == "price_file_unreadable"
