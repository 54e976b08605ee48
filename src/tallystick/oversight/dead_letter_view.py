"""Dead letters as people and programs see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, format_instant, from_seconds
from tallystick.domain.money import format_money
from tallystick.domain.quantity import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.billing.dead_letters import DeadLetter
    from tallystick.domain.money import Money
    from tallystick.ports.outbox import Decision


def letter_view(
    letter: DeadLetter, decisions: Iterable[tuple[str, Decision]] = ()
) -> dict[str, Any]:
    """Return everything of a stuck report that somebody who decides about it wants to know."""
    report = letter.report
    return {
        "id": report.id,
        "state": str(report.state),
        "reason": report.reason,
        "customer": report.customer,
        "stripe_customer_id": report.stripe_customer_id,
        "meter": report.meter_key,
        "quantity": plain(report.quantity),
        "at_stake": money_view(letter.at_stake),
        "age": shown_age(letter.age_us),
        "planned_at": format_instant(report.planned_at),
        "period": {
            "start": format_instant(report.period.start_at),
            "end": format_instant(report.period.end_at),
        },
        "timestamp": format_instant(from_seconds(report.timestamp)),
        "identifier": report.identifier,
        "way": str(report.way),
        "attempts": report.attempts,
        "may_have_arrived": report.maybe_taken,
        "decisions": [
            {
                "action": action,
                "actor": decision.actor,
                "reason": decision.reason,
                "at": format_instant(decision.at),
            }
            for action, decision in decisions
        ],
    }


def shown_age(age_us: int) -> str:
    """Return an age in its largest unit: ``3 d``, ``5 h``, ``12 min``."""
    for unit_us, name in ((DAY_US, "d"), (HOUR_US, "h")):
        if age_us >= unit_us:
            return f"{age_us // unit_us} {name}"
    return f"{age_us // MINUTE_US} min"


def money_view(money: Money | None) -> dict[str, Any] | None:
    """Return an amount for programs and for people, None where nobody knows it."""
    if money is None:
        return None
    return {
        "amount_minor": money.amount_minor,
        "currency": money.currency,
        "shown": format_money(money),
    }
