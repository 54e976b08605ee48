"""Prepaid credits: who pays first, for what, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from tallystick.domain.rating.credits import (
    CreditableLine,
    CreditCategory,
    CreditDraw,
    CreditError,
    CreditGrant,
    draw_credits,
    draw_order,
)

LINES = (CreditableLine(300, "a"), CreditableLine(-50, "a"), CreditableLine(200, "b"))


def grant(key: str, left: int = 100, **fields: Any) -> CreditGrant:
    return CreditGrant(key=key, left_minor=left, currency="usd", **fields)


def test_grants_are_used_by_priority_then_expiry_then_kind_then_start() -> None:
    grants = [
        grant("last", priority=100, expires_at=1),
        grant("never expires", effective_at=5),
        grant("began earlier", effective_at=4),
        grant("promotional", category=CreditCategory.PROMOTIONAL, effective_at=9),
        grant("expires late", expires_at=30),
        grant("expires soon", expires_at=20),
        grant("expires soon, promotional", expires_at=20, category=CreditCategory.PROMOTIONAL),
        grant("first", priority=0),
    ]
    assert [each.key for each in draw_order(grants)] == [
        "first",
        "expires soon, promotional",
        "expires soon",
        "expires late",
        "promotional",
        "began earlier",
        "never expires",
        "last",
    ]


def test_a_grant_is_used_up_before_the_next_and_lines_draw_in_order() -> None:
    statement = draw_credits(
        [grant("x", 350, priority=1), grant("y", 400, priority=2)], LINES, currency="usd", at=0
    )
    assert statement.draws == (
        CreditDraw("x", 0, 300),
        CreditDraw("x", 2, 50),
        CreditDraw("y", 2, 150),
    )
    assert statement.left_minor_by_grant == {"x": 0, "y": 250}


def test_a_grant_pays_only_for_its_prices() -> None:
    statement = draw_credits(
        [grant("x", 500, price_keys=frozenset({"b"}))], LINES, currency="usd", at=0
    )
    assert statement.draws == (CreditDraw("x", 2, 200),)


@pytest.mark.parametrize(("at", "drawn"), [(9, 0), (10, 100), (19, 100), (20, 0)])
def test_a_grant_pays_from_its_start_until_before_its_end(at: int, drawn: int) -> None:
    statement = draw_credits(
        [grant("x", effective_at=10, expires_at=20)], LINES, currency="usd", at=at
    )
    assert drawn == sum(draw.amount_minor for draw in statement.draws)
    assert 100 - drawn == statement.left_minor_by_grant["x"]


def test_a_grant_of_another_currency_pays_nothing() -> None:
    assert draw_credits([grant("x")], LINES, currency="eur", at=0).draws == ()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"priority": -1}, "priority_invalid"),
        ({"priority": 101}, "priority_invalid"),
        ({"left": -1}, "balance_invalid"),
    ],
)
def test_a_grant_that_cannot_be_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(CreditError) as refused:
        grant("x", **fields)
    assert code == refused.value.code
