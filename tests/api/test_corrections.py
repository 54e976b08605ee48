"""Corrections over real HTTP: one and many, each with its own result."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.domain.api_keys import Scope
from tests.fixtures.keys import key_for

if TYPE_CHECKING:
    import httpx2

    from tallystick.config import Settings
    from tallystick.wiring import Tallystick

MAY = {"from": "2015-05-01", "to": "2015-06-01"}


@pytest.fixture(autouse=True)
def stored(api: httpx2.Client) -> None:
    """Three events of 100 bytes."""
    events = [
        {
            "id": id_,
            "type": "http_request",
            "customer": "acme",
            "time": f"2015-05-18T1{number}:00:00Z",
            "value": 100,
        }
        for number, id_ in enumerate("abc")
    ]
    assert api.post("/v1/events", json=events).json()["accepted"] == 3


def usage(api: httpx2.Client) -> list[str]:
    shown = api.get("/v1/customers/acme/usage", params=MAY).json()["usage"]
    return [meter["quantity"] for meter in shown]


def results(answer: httpx2.Response) -> list[tuple[Any, ...]]:
    assert answer.status_code == 200, answer.text
    found = answer.json()["results"]
    assert [each["index"] for each in found] == list(range(len(found)))
    return [(each["id"], each["status"], each["code"]) for each in found]


def test_one_event_is_voided(api: httpx2.Client, product: Tallystick) -> None:
    answer = api.post("/v1/events/void", json={"id": "a", "reason": "a load test"})
    assert answer.json() == {
        "corrected": 1,
        "results": [
            {
                "index": 0,
                "source": "default",
                "id": "a",
                "status": "corrected",
                "code": None,
                "detail": None,
            }
        ],
    }
    assert usage(api) == ["2", "200"]
    found = product.events.find("default", "a")
    assert found is not None
    assert (found.counts_for, found.event.value) == (None, Decimal(100))
    again = api.post("/v1/events/void", json={"id": "a", "reason": "a load test"})
    assert results(again) == [("a", "unchanged", None)]
    assert again.json()["corrected"] == 0


def test_many_are_replaced_and_each_has_its_own_result(api: httpx2.Client) -> None:
    asked: list[Any] = [
        {"id": "a", "value": 7, "reason": "wrong unit"},
        {"id": "b", "value": "0.5", "reason": "wrong unit"},
        {"id": "nobody", "value": 7, "reason": "wrong unit"},
        {"id": "c", "value": "1e400", "reason": "wrong unit"},
        {"id": "c", "value": "NaN", "reason": "wrong unit"},
        {"id": "c", "value": 7},
        {"id": "c", "value": 7, "reason": "  "},
        {"id": "c", "value": 7, "reason": "x" * 1_001},
        {"id": "c", "value": 7, "reason": "a\u0000b"},
        {"id": "c", "valeu": 7, "reason": "x"},
        {"id": "c", "value": 7, "reason": "x", "actor": "somebody else"},
        7,
        {"id": "a", "value": "8.00", "reason": "wrong again"},
        {"id": "b", "value": "100", "reason": "as it was"},
        {"id": "c", "value": 1e2, "reason": "as it was"},
    ]
    assert results(api.post("/v1/events/replace", json=asked)) == [
        ("a", "corrected", None),
        ("b", "invalid", "value_too_many_decimals"),
        ("nobody", "not_found", "event_not_found"),
        ("c", "invalid", "value_too_many_digits"),
        ("c", "invalid", "value_not_finite"),
        ("c", "invalid", "correction_invalid"),
        ("c", "invalid", "reason_missing"),
        ("c", "invalid", "reason_too_long"),
        ("c", "invalid", "reason_invalid"),
        ("c", "invalid", "correction_invalid"),
        ("c", "invalid", "correction_invalid"),
        (None, "invalid", "correction_invalid"),
        ("a", "corrected", None),
        ("b", "unchanged", None),
        ("c", "unchanged", None),
    ]
    assert usage(api) == ["3", "208"]


def test_the_keys_name_is_who_decided(
    api: httpx2.Client, product: Tallystick, settings: Settings
) -> None:
    key = key_for(product, "ann's laptop", {Scope.OPERATE})
    asked = {"id": "a", "reason": "a load test"}
    headers = {"Authorization": f"Bearer {key}"}
    assert results(api.post("/v1/events/void", json=asked, headers=headers))[0][1] == "corrected"
    with closing(sqlite3.connect(settings.sqlite_path())) as connection:
        rows = connection.execute("SELECT actor, reason FROM event_corrections").fetchall()
    assert rows == [("ann's laptop", "a load test")]


def test_a_source_is_named_where_it_is_not_the_usual_one(api: httpx2.Client) -> None:
    asked = {"id": "a", "source": "elsewhere", "reason": "x"}
    assert results(api.post("/v1/events/void", json=asked)) == [
        ("a", "not_found", "event_not_found")
    ]


def test_a_sum_that_overflows_costs_only_its_own_correction(api: httpx2.Client) -> None:
    huge = "999999999999999"
    events = [
        {
            "id": f"h{number}",
            "type": "http_request",
            "customer": "acme",
            "time": "2015-05-18T10:00:00Z",
            "value": huge,
        }
        for number in range(9_223)
    ]
    assert api.post("/v1/events", json=events).json()["accepted"] == 9_223
    asked = [
        {"id": "b", "value": 1, "reason": "x"},
        {"id": "a", "value": huge, "reason": "x"},
        {"id": "c", "value": 2, "reason": "x"},
    ]
    assert results(api.post("/v1/events/replace", json=asked)) == [
        ("b", "corrected", None),
        ("a", "invalid", "usage_overflow"),
        ("c", "corrected", None),
    ]
    assert usage(api) == ["9226", str(9_223 * int(huge) + 103)]


@pytest.mark.parametrize("what", ["void", "replace"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"[{}", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"\xff", 400, "invalid_json"),
        (b"[" + b",".join([b"{}"] * 1_001) + b"]", 413, "too_many_corrections"),
    ],
)
def test_a_body_that_is_none_is_a_problem(
    api: httpx2.Client, what: str, body: bytes, status: int, code: str
) -> None:
    answer = api.post(f"/v1/events/{what}", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_no_corrections_are_answered(api: httpx2.Client) -> None:
    assert api.post("/v1/events/void", json=[]).json() == {"corrected": 0, "results": []}
