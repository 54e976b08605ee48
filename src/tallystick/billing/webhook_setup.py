"""The endpoints that Tallystick needs at Stripe: one for snapshots, one for thin events."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallystick.billing.inbox import CLOCK_SNAPSHOTS, METER_ERRORS, SNAPSHOTS

if TYPE_CHECKING:
    from tallystick.ports.endpoints import Endpoint, WebhookEndpoints


class EndpointSetup(NamedTuple):
    """What became of one endpoint.

    ``secret`` is set for one that was made now. ``lacking`` are types that it does not send, and
    ``remarks`` what else is not as it should be; ``needless`` are types that are ignored here.
    """

    endpoint_id: str
    is_thin: bool
    is_new: bool
    secret: str | None
    lacking: tuple[str, ...]
    needless: tuple[str, ...]
    remarks: tuple[str, ...]


def wanted_types(*, is_thin: bool, livemode: bool) -> tuple[str, ...]:
    """Return just the event types that are dealt with."""
    if is_thin:
        return METER_ERRORS
    return SNAPSHOTS if livemode else (*SNAPSHOTS, *CLOCK_SNAPSHOTS)


def set_up_webhooks(
    url: str, gateway: WebhookEndpoints, *, livemode: bool, update: bool
) -> list[EndpointSetup]:
    """Make the endpoints that are missing, and say what existing ones lack.

    ``update`` lets existing ones send what they lack. Repeating it makes nothing twice.

    Raises:
        StripeUnreachable, StripeRefused
    """
    existing = [each for each in gateway.endpoints() if each.url == url]
    return [
        _set_up(url, gateway, existing, is_thin=is_thin, livemode=livemode, update=update)
        for is_thin in (False, True)
    ]


def _set_up(
    url: str,
    gateway: WebhookEndpoints,
    existing: list[Endpoint],
    *,
    is_thin: bool,
    livemode: bool,
    update: bool,
) -> EndpointSetup:
    types = wanted_types(is_thin=is_thin, livemode=livemode)
    found = next((each for each in existing if each.is_thin == is_thin), None)
    if found is None:
        endpoint_id, secret = gateway.create(url, types, is_thin=is_thin)
        return EndpointSetup(endpoint_id, is_thin, True, secret, (), (), ())
    lacking = tuple(type_ for type_ in types if not _sends(found, type_))
    if lacking and update:
        gateway.extend(found, lacking)
        lacking = ()
    needless = tuple(type_ for type_ in found.types if type_ not in types)
    remarks = []
    if not found.is_enabled:
        remarks.append("it is disabled")
    return EndpointSetup(found.endpoint_id, is_thin, False, None, lacking, needless, tuple(remarks))


def _sends(endpoint: Endpoint, type_: str) -> bool:
    """Tell whether an endpoint sends a type; ``*`` and groups like ``invoice.*`` stand for many."""
    return any(
        sent in ("*", type_) or (sent.endswith(".*") and type_.startswith(sent[:-1]))
        for sent in endpoint.types
    )
