"""What `tallystick doctor` finds out, one finding after the other."""

from __future__ import annotations

import http.client
import json
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tallystick.config import PREFIX, SECRETS, ConfigError, Settings, load_settings
from tallystick.domain.instants import format_instant
from tallystick.ports.errors import (
    PortError,
    StoreUnavailable,
    StoreUnusable,
    StripeUnreachable,
)
from tallystick.ports.inbox import InboxState
from tallystick.wiring import Tallystick, has_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEALTH_TIMEOUT_SECONDS = 2

STUCK_STATES = ("dead", "unresolved", "parked")


class Standing(StrEnum):
    """How a finding stands."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong yet; somebody may want to know."""
    WRONG = "wrong"
    UNREACHABLE = "unreachable"


class Finding(NamedTuple):
    """One thing that was looked at."""

    subject: str
    standing: Standing
    detail: str


def diagnose() -> list[Finding]:
    """Return what was found; nothing is changed, and a database that is missing is not made."""
    try:
        settings = load_settings()
    except ConfigError as error:
        return [Finding("settings", Standing.WRONG, str(error))]
    findings = list(_settings(settings))
    try:
        if not has_database(settings):
            detail = f"{settings.database_name} does not exist; `tallystick init` makes it"
            return [*findings, Finding("database", Standing.WRONG, detail), _server(settings)]
        with Tallystick(settings) as product:
            findings += _product(product)
    except (StoreUnavailable, StoreUnusable) as error:
        findings.append(Finding("database", Standing.UNREACHABLE, str(error)))
    findings.append(_server(settings))
    return findings


def _settings(settings: Settings) -> Iterator[Finding]:
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        if name == "database_url":
            shown = settings.shown_url
        elif name in SECRETS:
            shown = "set (not shown)" if value else "not set"
        else:
            shown = "not set" if value is None else str(value)
        yield Finding(PREFIX + name.upper(), Standing.OK, shown)


def _product(product: Tallystick) -> Iterator[Finding]:
    looks: tuple[Callable[[Tallystick], Finding], ...] = (
        _database,
        _stripe,
        _catalog,
        _customers,
        _outbox,
        _inbox,
        _mirror,
    )
    for look in looks:
        try:
            yield look(product)
        except StripeUnreachable as error:
            yield Finding("stripe", Standing.UNREACHABLE, str(error))
        except PortError as error:
            yield Finding(look.__name__.strip("_"), Standing.WRONG, str(error))


def _database(product: Tallystick) -> Finding:
    version = product.installation.schema_version()
    events = product.events.count()
    name = product.settings.database_name
    return Finding("database", Standing.OK, f"{name}, schema version {version}, {events:,} events")


def _stripe(product: Tallystick) -> Finding:
    if not product.settings.stripe_api_key:
        detail = f"{PREFIX}STRIPE_API_KEY is not set: usage is kept, and nothing is reported"
        return Finding("stripe", Standing.WRONG, detail)
    account = product.stripe.accounts.account()
    where = product.settings.stripe_api_base or "Stripe"
    mode = "live" if account.livemode else "test"
    return Finding(
        "stripe", Standing.OK, f"{where} answers: account {account.stripe_account_id}, {mode} mode"
    )


def _catalog(product: Tallystick) -> Finding:
    keys = sorted(product.catalog.meters().by_key)
    if not keys:
        return Finding("catalog", Standing.NOTE, "no meter yet; `tallystick apply` declares them")
    return Finding("catalog", Standing.OK, f"meters {', '.join(keys)}")


def _customers(product: Tallystick) -> Finding:
    linked = {link.customer for link in product.customers.links()}
    unlinked = sum(customer not in linked for customer in product.usage.customers())
    detail = f"{len(linked):,} linked"
    if unlinked:
        detail += f"; {unlinked:,} with usage are not, and that usage waits to be reported"
        return Finding("customers", Standing.NOTE, detail)
    return Finding("customers", Standing.OK, detail)


def _outbox(product: Tallystick) -> Finding:
    counts = product.outbox.counts()
    shown = ", ".join(f"{number:,} {state}" for state, number in counts.items()) or "empty"
    stuck = any(counts.get(state) for state in STUCK_STATES)
    return Finding("outbox", Standing.WRONG if stuck else Standing.OK, shown)


def _inbox(product: Tallystick) -> Finding:
    counts = product.inbox.counts()
    shown = ", ".join(f"{number:,} {state}" for state, number in counts.items()) or "empty"
    if counts.get(InboxState.DEAD):
        return Finding("inbox", Standing.WRONG, f"{shown}; see `tallystick inbox dead`")
    if not product.settings.webhook_secrets:
        return Finding("inbox", Standing.NOTE, f"{shown}; no webhooks: `tallystick webhooks setup`")
    return Finding("inbox", Standing.OK, shown)


def _mirror(product: Tallystick) -> Finding:
    state = product.sync_ledger.state()
    if state.began_at is not None:
        return Finding(
            "mirror", Standing.NOTE, "a full sync was stopped; `tallystick sync` goes on"
        )
    if state.synced_at is None:
        detail = "never synced: customers are read one by one when needed; see `tallystick sync`"
        return Finding("mirror", Standing.NOTE, detail)
    swept = format_instant(max(state.synced_at, state.swept_at or 0))
    return Finding("mirror", Standing.OK, f"made true at {swept}")


def _server(settings: Settings) -> Finding:
    where = f"{settings.host}:{settings.port}"
    connection = http.client.HTTPConnection(
        settings.host, settings.port, timeout=HEALTH_TIMEOUT_SECONDS
    )
    try:
        connection.request("GET", "/healthz")
        answer = json.loads(connection.getresponse().read())
        healthy = answer.get("status") == "ok"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Finding("server", Standing.NOTE, f"nothing of ours answers at {where} ({error})")
    finally:
        connection.close()
    if not healthy:
        return Finding("server", Standing.WRONG, f"the server at {where} is not well: {answer}")
    return Finding("server", Standing.OK, f"answers at {where}")
