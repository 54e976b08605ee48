"""Dead letters: what they are worth, and how they are driven again or settled."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.domain.instants import DAY_US, HOUR_US, parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
from tallystick.ports.inbox import MeterError
from tallystick.ports.outbox import Decision, Outcome, Settlement, StuckFilter
from tallystick.ports.stripe import AttemptResult
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.mirrored import keep_items
from tests.unit.test_deliver import ScriptedSink, deliverer, plan

if TYPE_CHECKING:
    import httpx2

    from tallystick.config import Settings
    from tallystick.wiring import Tallystick
    from tests.fixtures.clock import FakeClock

MAY = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))
ALL = StuckFilter()
DECISION = Decision("ada", "looked at it", parse_instant("2015-05-21"))


def bury(product: Tallystick, customer: str = "acme", quantity: int = 50) -> int:
    """Make a dead report of a customer whose price is in the catalog; return its id."""
    link = CustomerLink(customer, f"cus_{customer}")
    product.customers.link([link], product.clock.now())
    item = SubscriptionItem(
        f"si_{customer}",
        f"sub_{customer}",
        f"cus_{customer}",
        "price_test_web_api_requests_monthly",
        "mtr_test_api_requests",
        MAY,
        MAY,
    )
    keep_items(product, f"cus_{customer}", [item], product.clock.now())
    plan(product, customer, quantity=quantity)
    assert deliverer(product, ScriptedSink(AttemptResult.REFUSED)).run() == {"dead": 1}
    return product.stuck_reports.find(StuckFilter(customer=customer), 0, 1)[0].id


def count_as_measured(product: Tallystick, customer: str, number: int) -> None:
    from tallystick.domain.instants import to_datetime
    from tallystick.pipeline.event_draft import EventDraft

    at = to_datetime(MAY.start_at + HOUR_US)
    drafts = [EventDraft("http_request", customer, at, f"e{n}") for n in range(number)]
    assert not any(result.code for result in product.ingest.take(drafts))


def test_a_dead_letter_says_what_is_at_stake(product: Tallystick, clock: FakeClock) -> None:
    count_as_measured(product, "acme", 120)
    bury(product)
    clock.advance(2 * DAY_US)
    (letter,) = product.dead_letters.listed(ALL, 0, 10)
    assert letter.report.reason == "refused: said so"
    assert letter.age_us == 2 * DAY_US
    # 120 requests: 100 at 1 cent and 20 at 0.8 cents; without the 50: 70 at 1 cent
    assert letter.at_stake is not None
    assert (letter.at_stake.amount_minor, letter.at_stake.currency) == (100 + 16 - 70, "usd")


def test_a_report_is_driven_again_as_a_new_one(product: Tallystick) -> None:
    report_id = bury(product)
    done = product.dead_letters.retry([report_id], DECISION, surely_missing=False)
    assert [each.remedy for each in done] == ["replaced"]
    old, new = product.book.reports("acme")
    assert (old.state, new.state) == (ReportState.REPLACED, ReportState.PENDING)
    assert (old.quantity, new.sequence) == (new.quantity, 1)
    assert old.identifier != new.identifier
    assert product.book.reported("acme", "api_requests", MAY).quantity == 50
    sink = ScriptedSink(AttemptResult.TAKEN)
    assert deliverer(product, sink).run() == {"delivered": 1}
    assert product.stuck_reports.decisions(old.id) == [("replaced", DECISION)]
    again = product.dead_letters.retry([report_id], DECISION, surely_missing=False)
    assert [each.remedy for each in again] == ["not_stuck"]


def test_what_may_have_arrived_is_only_driven_again_by_somebody_who_knows(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    (claim,) = product.outbox.claim(clock.now(), 1, 1)
    unresolved = Settlement(ReportState.UNRESOLVED, "ambiguous", maybe_taken=True)
    assert not product.outbox.settle([Outcome(claim, unresolved)], clock.now())
    report_id = claim.report.id
    refused = product.dead_letters.retry([report_id], DECISION, surely_missing=False)
    assert [each.remedy for each in refused] == ["unresolved"]
    done = product.dead_letters.retry([report_id], DECISION, surely_missing=True)
    assert [each.remedy for each in done] == ["replaced"]


def test_a_closed_period_is_not_driven_again(product: Tallystick, clock: FakeClock) -> None:
    report_id = bury(product)
    clock.advance(12 * DAY_US)
    done = product.dead_letters.retry([report_id], DECISION, surely_missing=False)
    assert [each.remedy for each in done] == ["too_late"]
    assert product.dead_letters.count(ALL) == 1


@pytest.mark.parametrize("state", [ReportState.DELIVERED, ReportState.WAIVED])
def test_a_person_ends_a_report(product: Tallystick, state: ReportState) -> None:
    report_id = bury(product)
    done = product.dead_letters.settle([report_id, 999], state, DECISION)
    assert [each.remedy for each in done] == [state, "not_stuck"]
    assert product.outbox.counts() == {state: 1}
    assert product.book.reported("acme", "api_requests", MAY).quantity == 50


def test_stripes_later_word_makes_a_delivered_report_dead(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    plan(product, sequence=1)
    deliverer(product, ScriptedSink(*[AttemptResult.TAKEN] * 2)).run()
    first, _ = product.book.reports()
    for expected in (True, False):
        rejected = product.confirmations.reject(first.identifier, "no_meter", clock.now())
        assert rejected is expected
    assert not product.confirmations.reject("unknown", "no_meter", clock.now())
    assert product.outbox.counts() == {"dead": 1, "delivered": 1}


def test_samples_of_stripes_error_reports_find_their_reports(
    product: Tallystick, clock: FakeClock
) -> None:
    for sequence in range(3):
        plan(product, sequence=sequence)
    deliverer(product, ScriptedSink(*[AttemptResult.TAKEN] * 3)).run()
    first, second, third = product.book.reports()
    samples = [
        {"error_message": "no.", "request": {"identifier": key}}
        for key in (first.identifier, f"{second.identifier}.4", "req_of_somebody_else")
    ]
    types = [{"code": "meter_event_customer_not_found", "sample_errors": samples}]
    bodies = [json.dumps({"data": {"reason": {"error_types": types}}}).encode(), b"{}", b"[1]"]
    for number, body in enumerate(bodies):
        product.meter_errors.keep(
            MeterError(
                seq=0,
                event_id=f"evt_{number}",
                type="v1.billing.meter.error_report_triggered",
                stripe_meter_id="mtr_1",
                body=body,
                received_at=clock.now(),
            )
        )
    assert product.rejections.run() == {"rejected": 2, "not_ours": 1}
    dead = [one for one in product.book.reports() if one.state is ReportState.DEAD]
    assert [one.id for one in dead] == [first.id, second.id]
    assert {one.reason for one in dead} == {"meter_event_customer_not_found: no."}
    # what a person settles afterwards stays settled
    product.dead_letters.settle([first.id], ReportState.DELIVERED, DECISION)
    assert product.rejections.run() == {}
    assert product.outbox.counts() == {"dead": 1, "delivered": 2}
    assert third.state is ReportState.DELIVERED


def test_over_http_reports_are_listed_driven_again_and_settled(
    api: httpx2.Client, product: Tallystick
) -> None:
    ids = [bury(product, name) for name in ("a", "b", "c")]
    listed = api.get("/v1/dead-letters", params={"state": "dead", "limit": "2"}).json()
    assert [each["id"] for each in listed["dead_letters"]] == ids[:2]
    assert listed["total"] == 3
    rest = api.get("/v1/dead-letters", params={"after": str(ids[1])}).json()
    assert [each["customer"] for each in rest["dead_letters"]] == ["c"]

    body: dict[str, Any] = {"reason": "link mended", "ids": [ids[0]]}
    answer = api.post("/v1/dead-letters/retry", json=body).json()
    assert answer == {"reports": [{"report_id": ids[0], "remedy": "replaced"}], "left": 2}
    chosen = {"reason": "gone", "all": True, "limit": 1, "as": "waived"}
    answer = api.post("/v1/dead-letters/settle", json=chosen).json()
    assert answer == {"reports": [{"report_id": ids[1], "remedy": "waived"}], "left": 1}

    shown = api.get(f"/v1/dead-letters/{ids[1]}").json()
    assert shown["state"] == "waived"
    (decision,) = shown["decisions"]
    assert (decision["actor"], decision["reason"]) == ("test", "gone")
    outbox = api.get("/v1/outbox").json()
    assert outbox["states"] == {"dead": 1, "pending": 1, "replaced": 1, "waived": 1}
    assert outbox["pending"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/dead-letters/99", None, 404),
        ("GET", f"/v1/dead-letters/{10**30}", None, 404),
        ("GET", "/v1/dead-letters?state=lost", None, 400),
        ("GET", "/v1/dead-letters?limit=0", None, 400),
        ("POST", "/v1/dead-letters/retry", {"reason": "b"}, 400),
        ("POST", "/v1/dead-letters/retry", {"reason": "", "all": True}, 400),
        ("POST", "/v1/dead-letters/settle", {"reason": "b", "all": True}, 400),
        ("POST", "/v1/dead-letters/settle", {"actor": "a", "reason": "b", "ids": [1]}, 400),
    ],
)
def test_over_http_what_cannot_be_is_refused(
    api: httpx2.Client, method: str, path: str, body: Any, status: int
) -> None:
    assert api.request(method, path, json=body).status_code == status


def test_on_the_command_line(product: Tallystick, settings: Settings) -> None:
    count_as_measured(product, "acme", 60)
    report_id = str(bury(product))
    environment = {"TALLYSTICK_DATABASE_URL": settings.database_url}
    listed = answer_of("dead", "list", environment=environment)
    assert [each["at_stake"]["shown"] for each in listed["dead_letters"]] == ["0.50 USD"]
    assert "refused: said so" in tallystick("dead", "list", environment=environment).stdout
    assert answer_of("dead", "show", report_id, environment=environment)["state"] == "dead"
    assert tallystick("dead", "show", "77", environment=environment).returncode == 2
    nothing = tallystick("dead", "retry", "--reason", "why", environment=environment)
    assert nothing.returncode == 2
    settled = tallystick(
        *("dead", "settle", report_id, "--as", "waived", "--reason", "agreed", "--json"),
        environment=environment,
    )
    assert settled.returncode == 0, settled.stdout
    assert json.loads(settled.stdout)["left"] == 0
    retried = tallystick("dead", "retry", report_id, "--reason", "why", environment=environment)
    assert retried.returncode == 1
    assert "not_stuck" in retried.stdout
    assert answer_of("outbox", environment=environment)["states"] == {"waived": 1}
    assert Decimal(listed["dead_letters"][0]["quantity"]) == 50
