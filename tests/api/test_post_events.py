"""POST /v1/events over real HTTP: every form, every error, and no event lost to its neighbours."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx2

    from tallystick.wiring import Tallystick


def event(id_: str = "e1", **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": id_,
        "type": "http_request",
        "customer": "acme",
        "time": "2015-05-18T10:00:00Z",
        "value": 7,
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not ...}


def post(api: httpx2.Client, body: Any, **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.post(
        "/v1/events", content=content, headers={"Content-Type": "application/json", **headers}
    )


def usage(api: httpx2.Client, customer: str = "acme") -> dict[str, str]:
    answer = api.get(
        f"/v1/customers/{customer}/usage", params={"from": "2015-05-01", "to": "2015-06-01"}
    )
    assert answer.status_code == 200
    return {meter["meter"]: meter["quantity"] for meter in answer.json()["usage"]}


def test_one_event_is_accepted_and_counted(api: httpx2.Client) -> None:
    answer = post(api, event())
    assert answer.status_code == 200
    assert answer.json() == {
        "accepted": 1,
        "duplicates": 0,
        "results": [
            {"index": 0, "id": "e1", "status": "accepted", "code": None, "detail": None},
        ],
    }
    assert usage(api) == {"api_requests": "1", "bandwidth_bytes": "7"}


def test_usage_is_all_of_it_where_no_time_is_named(api: httpx2.Client) -> None:
    post(api, [event("old", time="1999-01-01T00:00:00Z"), event()])
    (requests,) = api.get("/v1/customers/acme/usage", params={"meter": "api_requests"}).json()[
        "usage"
    ]
    assert requests["quantity"] == "2"
    assert api.get("/v1/customers/acme/usage", params={"from": "x"}).status_code == 400
    assert api.get("/v1/customers/acme/usage", params={"meter": "none"}).status_code == 400
    assert api.get("/v1/customers/acme/usage", params={"window": "week"}).status_code == 400


def test_the_same_event_again_is_a_duplicate(api: httpx2.Client) -> None:
    post(api, event())
    answer = post(api, [event(), event("e2")]).json()
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)
    assert [result["status"] for result in answer["results"]] == ["duplicate", "accepted"]
    assert usage(api) == {"api_requests": "2", "bandwidth_bytes": "14"}


@pytest.mark.parametrize(
    "same",
    [
        {"value": "7"},
        {"value": "7.000"},
        {"value": 7.0},
        {"source": "default"},
        {"time": "2015-05-18T12:00:00+02:00"},
        {"properties": {}},
    ],
)
def test_the_same_event_written_otherwise_is_a_duplicate(
    api: httpx2.Client, same: dict[str, Any]
) -> None:
    post(api, event())
    assert post(api, event(**same)).json()["duplicates"] == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"value": 8},
        {"customer": "other"},
        {"time": "2015-05-18T10:00:01Z"},
        {"properties": {"path": "/"}},
    ],
)
def test_an_id_with_other_content_is_a_conflict_and_changes_nothing(
    api: httpx2.Client, changed: dict[str, Any]
) -> None:
    post(api, event())
    answer = post(api, [event(**changed), event("e2")]).json()
    assert [result["status"] for result in answer["results"]] == ["conflict", "accepted"]
    assert answer["results"][0]["code"] == "event_conflict"
    assert usage(api) == {"api_requests": "2", "bandwidth_bytes": "14"}


def test_a_batch_judges_its_own_repeats(api: httpx2.Client) -> None:
    answer = post(api, [event(), event(), event(value=9)]).json()
    statuses = [result["status"] for result in answer["results"]]
    assert statuses == ["accepted", "duplicate", "conflict"]


def test_the_same_id_from_another_source_is_another_event(api: httpx2.Client) -> None:
    answer = post(api, [event(), event(source="eu"), event(source="us")]).json()
    assert answer["accepted"] == 3


REFUSED: dict[str, dict[str, Any]] = {
    "value_not_finite": {"value": "NaN"},
    "value_not_finite ": {"value": "-Infinity"},
    "value_not_a_number": {"value": "many"},
    "value_too_many_digits": {"value": 1234567890123456},
    "value_too_many_digits ": {"value": "1e15"},
    "value_too_many_digits  ": {"value": "1e400"},
    "value_too_many_decimals": {"value": "0.5"},
    "value_too_many_decimals ": {"value": "1e-13"},
    "unknown_event_type": {"type": "no_such_type"},
    "customer_missing": {"customer": ...},
    "customer_missing ": {"customer": ""},
    "customer_invalid": {"customer": 7},
    "customer_too_long": {"customer": "c" * 256},
    "customer_invalid ": {"customer": "a\x00b"},
    "id_missing": {"id": ...},
    "id_too_long": {"id": "i" * 256},
    "type_missing": {"type": ...},
    "time_missing": {"time": ...},
    "time_invalid": {"time": "yesterday"},
    "time_invalid ": {"time": "2015-05-18T10:00:00"},
    "time_invalid  ": {"time": 1431943200},
    "time_in_future": {"time": "2125-05-18T10:00:00Z"},
    "time_too_early": {"time": "1915-05-18T10:00:00Z"},
    "unknown_field": {"valeu": 7},
    "properties_invalid": {"properties": [1]},
    "properties_too_large": {"properties": {"text": "x" * 20_000}},
    "source_missing": {"source": ""},
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_wrong_event_is_refused_by_name_and_its_neighbours_are_kept(
    api: httpx2.Client, code: str
) -> None:
    wrong = event("wrong", **REFUSED[code])
    answer = post(api, [event("before"), wrong, event("after")])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["accepted", "invalid", "accepted"]
    assert [result["index"] for result in results] == [0, 1, 2]
    assert results[1]["code"] == code.strip()
    assert results[1]["detail"]
    assert results[1]["id"] == wrong.get("id")
    assert usage(api) == {"api_requests": "2", "bandwidth_bytes": "14"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_json_costs_only_its_own_event(
    api: httpx2.Client, number: str
) -> None:
    wrong = json.dumps(event("wrong", value="?")).replace('"?"', number)
    body = f"[{json.dumps(event('before'))}, {wrong}, {json.dumps(event('after'))}]"
    results = post(api, body.encode()).json()["results"]
    assert [result["status"] for result in results] == ["accepted", "invalid", "accepted"]
    assert (results[1]["id"], results[1]["code"]) == ("wrong", "value_not_finite")


def test_a_number_that_is_not_json_among_properties_is_refused(api: httpx2.Client) -> None:
    wrong = json.dumps(event("wrong", properties={"load": "?"})).replace('"?"', "NaN")
    results = post(api, f"[{wrong}, {json.dumps(event())}]".encode()).json()["results"]
    assert [(result["id"], result["code"]) for result in results] == [
        ("wrong", "invalid_json"),
        ("e1", None),
    ]


def test_an_id_that_is_not_json_is_refused(api: httpx2.Client) -> None:
    results = post(api, b'[{"id": NaN}, {"id": [NaN]}, 7]').json()["results"]
    assert [(result["id"], result["code"]) for result in results] == [
        (None, "invalid_json"),
        (None, "invalid_json"),
        (None, "not_an_object"),
    ]


def test_something_that_is_no_object_is_refused_alone(api: httpx2.Client) -> None:
    results = post(api, [7, event(), None, "event", []]).json()["results"]
    assert [result["code"] for result in results] == [
        "not_an_object",
        None,
        "not_an_object",
        "not_an_object",
        "not_an_object",
    ]


@pytest.mark.parametrize("value", ["0.1", 0.1, "1e-1"])
def test_a_fraction_is_never_rounded_to_a_meters_decimals(
    api: httpx2.Client, product: Tallystick, value: Any
) -> None:
    results = post(api, event(value=value)).json()["results"]
    assert results[0]["code"] == "value_too_many_decimals"
    assert product.events.count() == 0


def test_zero_and_negative_values_are_taken(api: httpx2.Client) -> None:
    assert post(api, [event("a", value=0), event("b", value=-3)]).json()["accepted"] == 2
    assert usage(api) == {"api_requests": "2", "bandwidth_bytes": "-3"}


def test_a_value_left_out_is_one(api: httpx2.Client) -> None:
    post(api, event(value=...))
    assert usage(api) == {"api_requests": "1", "bandwidth_bytes": "1"}


def test_an_empty_array_is_answered(api: httpx2.Client) -> None:
    assert post(api, []).json() == {"accepted": 0, "duplicates": 0, "results": []}


def test_ndjson_judges_each_line(api: httpx2.Client) -> None:
    lines = [json.dumps(event("a")), "", "{broken", json.dumps(event("b")), "[1]"]
    answer = post(api, "\n".join(lines).encode(), **{"Content-Type": "application/x-ndjson"})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [
        "accepted",
        "invalid",
        "accepted",
        "invalid",
    ]
    assert [result["code"] for result in results if result["code"]] == [
        "invalid_json",
        "not_an_object",
    ]


def cloud_event(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": "c1",
        "source": "/gateway/eu",
        "type": "http_request",
        "subject": "acme",
        "time": "2015-05-18T10:00:00Z",
        "datacontenttype": "application/json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": {"value": "12", "path": "/index", "properties": {"status": 200}},
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not ...}


def test_a_structured_cloud_event_is_an_event(api: httpx2.Client, product: Tallystick) -> None:
    answer = post(api, cloud_event(), **{"Content-Type": "application/cloudevents+json"})
    assert answer.json()["accepted"] == 1
    assert usage(api) == {"api_requests": "1", "bandwidth_bytes": "12"}
    (stored,) = product.events.scan(0, 10)
    assert stored.event.source == "/gateway/eu"
    assert json.loads(stored.event.properties) == {"path": "/index", "status": 200}


def test_a_batch_of_cloud_events_judges_each(api: httpx2.Client) -> None:
    batch = [
        cloud_event(),
        cloud_event(id="c2", subject=...),
        cloud_event(id="c3", specversion="0.3"),
        cloud_event(id="c4", data=...),
        cloud_event(id="c5", data_base64="AA=="),
        cloud_event(id="c6", data=[1]),
        cloud_event(id="c7", time=...),
    ]
    answer = post(
        api, batch, **{"Content-Type": "application/cloudevents-batch+json; charset=UTF-8"}
    )
    assert [result["code"] for result in answer.json()["results"]] == [
        None,
        "customer_missing",
        "specversion_invalid",
        None,
        "data_base64_invalid",
        "data_invalid",
        "time_missing",
    ]


def test_gzip_is_unpacked(api: httpx2.Client) -> None:
    body = gzip.compress(json.dumps([event("a"), event("b")]).encode())
    assert post(api, body, **{"Content-Encoding": "gzip"}).json()["accepted"] == 2


def assert_problem(answer: httpx2.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "code", "detail"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        (b"[" * 100_000, {}, 400, "invalid_json"),
        (b"\xff\xfe", {}, 400, "invalid_json"),
        (b"  ", {}, 400, "empty_body"),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, "broken_gzip"),
        (gzip.compress(b"[]")[:-4], {"Content-Encoding": "gzip"}, 400, "broken_gzip"),
        (b"[]", {"Content-Encoding": "br"}, 415, "unsupported_encoding"),
        (b"a,b", {"Content-Type": "text/csv"}, 415, "unsupported_media_type"),
        (b"[]" + b" " * 11_000_000, {}, 413, "body_too_large"),
        (gzip.compress(b" " * 200_000_000), {"Content-Encoding": "gzip"}, 413, "body_too_large"),
        (json.dumps([{}] * 20_001).encode(), {}, 413, "too_many_events"),
        (b"[]", {"Authorization": "Bearer tsk_wrong"}, 401, "unauthorized"),
        (b"[]", {"Authorization": "Basic abc"}, 401, "unauthorized"),
        (b"[]", {"Authorization": ""}, 401, "unauthorized"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_fails_as_a_whole_is_a_problem(
    api: httpx2.Client, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    assert_problem(post(api, body, **headers), status, code)


def test_a_chunked_body_over_the_limit_is_refused(api: httpx2.Client) -> None:
    chunks = (b" " * 1_000_000 for _ in range(12))
    answer = api.post("/v1/events", content=chunks, headers={"Content-Type": "application/json"})
    assert_problem(answer, 413, "body_too_large")


def test_an_address_that_is_none_and_a_wrong_method_are_problems(api: httpx2.Client) -> None:
    assert_problem(api.get("/v2/events"), 404, "not_found")
    assert_problem(api.get("/v1/events"), 405, "method_not_allowed")


def test_an_event_whose_sum_overflows_is_refused_alone(api: httpx2.Client) -> None:
    huge = "999999999999999"
    full = [event(f"h{number}", value=huge) for number in range(9_223)]
    assert post(api, full).json()["accepted"] == 9_223
    batch = [event("a", value=1), event("b", value=huge), event("c", value=2)]
    results = post(api, batch).json()["results"]
    assert [result["status"] for result in results] == ["accepted", "invalid", "accepted"]
    assert results[1]["code"] == "usage_overflow"
    total = 9_223 * int(huge) + 3
    assert usage(api) == {"api_requests": "9225", "bandwidth_bytes": str(total)}
