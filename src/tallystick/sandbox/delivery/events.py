"""Events: a snapshot of each object that changed, kept 30 days and handed to the webhooks."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.domain.quantity import plain
from tallystick.sandbox.state.records import Event

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def encode_json(body: Any) -> bytes:
    """Return JSON bytes; a Decimal becomes a number with exactly its digits."""
    return _ENCODER.encode(body)


def number(value: Decimal) -> Decimal:
    """Return the decimal in the notation in which JSON shall show it."""
    return Decimal(plain(value))


def emit(
    account: Account,
    kind: str,
    rendered: dict[str, Any],
    *,
    before: dict[str, Any] | None = None,
    test_clock: str | None = None,
) -> Event:
    """Record a snapshot event and hand it to the endpoints that want it.

    ``before`` is the object as it was: the fields that differ become ``previous_attributes``.
    """
    data: dict[str, Any] = {"object": rendered}
    if before is not None:
        changed = {
            key: value
            for key, value in before.items()
            if key in rendered and rendered[key] != value
        }
        data["previous_attributes"] = changed
    event = Event(
        id=account.ids.make("evt"),
        type=kind,
        created=account.now(test_clock),
        data=encode_json(data),
        made_at=account.real_now(),
        request_id=account.request_id,
        idempotency_key=account.request_idempotency_key,
        test_clock=test_clock,
    )
    account.publish(event)
    return event


def emit_thin(
    account: Account, kind: str, data: dict[str, Any], related: dict[str, str] | None
) -> Event:
    """Record a thin event: its body has no data, which is fetched from /v2/core/events/{id}."""
    event = Event(
        id=account.ids.make("evt_test"),
        type=kind,
        created=int(account.real_now()),
        data=encode_json(data),
        made_at=account.real_now(),
        is_thin=True,
        related=related,
    )
    account.publish(event)
    return event
