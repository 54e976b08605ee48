"""The state file: every account, written whole and put in place at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tallystick.sandbox.lifecycle.usage import count_event
from tallystick.sandbox.state import billing_records as billing
from tallystick.sandbox.state import records
from tallystick.sandbox.state.account import Timeline
from tallystick.sandbox.wire.idempotency import SavedAnswer

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.world import World

FORMAT = "tallystick-sandbox-1"


class StateError(Exception):
    """A file that is no state of this sandbox."""


class SavedAccount(msgspec.Struct):
    """One account as it is written."""

    key: str
    created: int
    ids_made: int
    customers: list[records.Customer]
    products: list[records.Product]
    prices: list[records.Price]
    meters: list[records.Meter]
    test_clocks: list[records.TestClock]
    tax_rates: list[records.TaxRate]
    payment_methods: list[records.PaymentMethod]
    subscriptions: list[billing.Subscription]
    invoices: list[billing.Invoice]
    invoice_items: list[billing.InvoiceItem]
    payments: list[billing.Payment]
    webhook_endpoints: list[records.WebhookEndpoint]
    events: list[records.Event]
    timelines: dict[str, list[records.ScheduledAction]]
    deleted: dict[str, str]
    item_owner: dict[str, str]
    usage: list[records.MeterEvent]
    usage_pending: list[records.MeterEvent]
    usage_records: dict[str, list[records.UsageRecord]]
    sessions: dict[str, float]
    answers: dict[str, SavedAnswer]


class SavedWorld(msgspec.Struct):
    """The whole file."""

    format: str
    seed: int
    requests_made: int
    accounts: list[SavedAccount]


_COLLECTIONS = (
    "customers",
    "products",
    "prices",
    "meters",
    "test_clocks",
    "tax_rates",
    "payment_methods",
    "subscriptions",
    "invoices",
    "invoice_items",
    "payments",
    "webhook_endpoints",
    "events",
)


def save(world: World, path: Path) -> None:
    """Write the state beside the file and move it in place, so that it is never half written."""
    saved = SavedWorld(
        format=FORMAT,
        seed=world.settings.seed,
        requests_made=world.request_ids.made,
        accounts=[_saved(world, account) for account in world.accounts.values()],
    )
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(msgspec.msgpack.encode(saved))
    fresh.replace(path)


def _saved(world: World, account: Account) -> SavedAccount:
    pending = {id(event) for event in account.usage_pending}
    return SavedAccount(
        key=account.key,
        created=account.created,
        ids_made=account.ids.made,
        **{name: list(getattr(account, name)) for name in _COLLECTIONS},
        timelines={name: line.heap for name, line in account.timelines.items()},
        deleted=account.deleted,
        item_owner=account.item_owner,
        usage=[e for e in account.usage_by_identifier.values() if id(e) not in pending],
        usage_pending=list(account.usage_pending),
        usage_records=account.usage_records,
        sessions=account.sessions,
        answers=world.idempotency(account).saved,
    )


def read_state(path: Path) -> SavedWorld | None:
    """Return what a file holds, or None when there is no file yet.

    Raises:
        StateError: it cannot be read, or is no state of this sandbox.
    """
    if not path.exists():
        if not path.parent.is_dir():
            raise StateError(f"there is no folder {path.parent} for the state file")
        return None
    try:
        saved = msgspec.msgpack.decode(path.read_bytes(), type=SavedWorld)
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise StateError(f"{path} is not a state file of the sandbox") from None
    if saved.format != FORMAT:
        raise StateError(f"{path} was written by another version of the sandbox")
    return saved


def restore(world: World, saved: SavedWorld) -> None:
    """Take over saved accounts; clocks that were advancing go on when the server starts."""
    world.request_ids.made = saved.requests_made
    for one in saved.accounts:
        account = world.account(one.key)
        account.created, account.ids.made = one.created, one.ids_made
        for name in _COLLECTIONS:
            collection = getattr(account, name)
            for thing in getattr(one, name):
                collection.add(thing)
        account.deleted, account.item_owner = one.deleted, one.item_owner
        account.usage_records, account.sessions = one.usage_records, one.sessions
        for clock, actions in one.timelines.items():
            account.timelines[clock] = Timeline()
            account.timelines[clock].restore(actions)
        world.idempotency(account).saved.update(one.answers)
        _index(account)
        _restore_usage(account, one)


def _index(account: Account) -> None:
    """Build the indexes again that are not saved."""
    account.meter_by_event_name = {meter.event_name: meter.id for meter in account.meters}
    account.price_by_lookup_key = {
        price.lookup_key: price.id for price in account.prices if price.lookup_key
    }
    account.payment_by_intent = {payment.intent: payment.id for payment in account.payments}
    account.payment_by_charge = {
        payment.charge: payment.id for payment in account.payments if payment.charge
    }
    for event in account.events:
        event.pending_webhooks = 0


def _restore_usage(account: Account, one: SavedAccount) -> None:
    for event in one.usage:
        account.usage_by_identifier[event.identifier] = event
        id_ = account.meter_by_event_name.get(event.event_name)
        meter = account.meters.get(id_) if id_ else None
        if meter is not None and not event.is_rejected:
            count_event(account, meter, event)
    for event in one.usage_pending:
        account.usage_by_identifier[event.identifier] = event
        account.usage_pending.append(event)
