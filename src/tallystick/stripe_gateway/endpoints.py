"""Webhook endpoints at Stripe: which exist, what they send, and how one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.ports.endpoints import Endpoint
from tallystick.stripe_gateway.objects import PAGE_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.stripe_gateway.connection import StripeConnection

NAME = "Tallystick"


class WebhookEndpoints:
    """``WebhookEndpoints``: v1 endpoints for snapshots, v2 destinations for thin events."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def endpoints(self) -> list[Endpoint]:
        """Return every endpoint of the account that posts to an address."""
        with self._connection.call() as client:
            snapshots = client.v1.webhook_endpoints.list({"limit": PAGE_MAX})
        found = [
            Endpoint(
                each.id,
                each.url,
                tuple(each.enabled_events),
                is_thin=False,
                is_enabled=each.status == "enabled",
            )
            for each in snapshots.auto_paging_iter()
        ]
        with self._connection.call() as client:
            destinations = client.v2.core.event_destinations.list({"limit": PAGE_MAX})
        for listed in destinations.auto_paging_iter():
            if listed.event_payload != "thin" or listed.type != "webhook_endpoint":
                continue
            with self._connection.call() as client:  # a list leaves the address out
                shown = client.v2.core.event_destinations.retrieve(
                    listed.id, {"include": ["webhook_endpoint.url"]}
                )
            hook = shown.webhook_endpoint
            found.append(
                Endpoint(
                    shown.id,
                    (hook.url if hook else None) or "",
                    tuple(shown.enabled_events),
                    is_thin=True,
                    is_enabled=shown.status == "enabled",
                )
            )
        return found

    def create(self, url: str, types: Sequence[str], *, is_thin: bool) -> tuple[str, str]:
        """Make an endpoint; return its id and its signing secret, which Stripe shows this once."""
        with self._connection.call() as client:
            if is_thin:
                made = client.v2.core.event_destinations.create(
                    {
                        "name": NAME,
                        "type": "webhook_endpoint",
                        "event_payload": "thin",
                        "enabled_events": list(types),
                        "webhook_endpoint": {"url": url},
                        "include": ["webhook_endpoint.signing_secret"],
                    }
                )
                hook = made.webhook_endpoint
                return made.id, (hook.signing_secret if hook else None) or ""
            # the SDK types event types as literals; ours are among them
            wanted: Any = {
                "url": url,
                "enabled_events": list(types),
                "description": NAME,
            }
            endpoint = client.v1.webhook_endpoints.create(wanted)
        return endpoint.id, endpoint.secret or ""

    def extend(self, endpoint: Endpoint, types: Sequence[str]) -> None:
        """Let an endpoint send more types of events."""
        wanted: Any = {"enabled_events": sorted({*endpoint.types, *types})}
        with self._connection.call() as client:
            if endpoint.is_thin:
                client.v2.core.event_destinations.update(endpoint.endpoint_id, wanted)
            else:
                client.v1.webhook_endpoints.update(endpoint.endpoint_id, wanted)
