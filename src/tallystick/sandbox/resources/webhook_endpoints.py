"""Webhook endpoints (v1, snapshot events) and event destinations (v2, snapshot or thin)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.shapes.events import rfc3339
from tallystick.sandbox.state.ids import token
from tallystick.sandbox.state.records import WebhookEndpoint
from tallystick.sandbox.wire.errors import missing, refused, unsupported
from tallystick.sandbox.wire.lists import list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation
from tallystick.sandbox.wire.versions import NEWEST, read_version

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.operations import Call

ENDPOINTS_MAX = 16
"""DOC:webhooks: endpoints per account."""


def render_endpoint(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Return a v1 endpoint; the secret only shows when it is created."""
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "api_version": endpoint.api_version,
        "application": None,
        "created": endpoint.created,
        "description": endpoint.description,
        "enabled_events": endpoint.enabled_events,
        "livemode": False,
        "metadata": endpoint.metadata,
        "status": "enabled" if endpoint.is_enabled else "disabled",
        "url": endpoint.url,
    }


def _check_url(url: str) -> str:
    """Return a URL; test mode also takes plain HTTP (SDK16 event destinations).

    Raises:
        StripeError: 400.
    """
    if not url.startswith(("http://", "https://")):
        raise refused("Invalid URL: An explicit scheme (such as https) must be provided.", "url")
    return url


def _make_room(account: Account) -> None:
    if len(account.webhook_endpoints) >= ENDPOINTS_MAX:
        raise refused(f"You have reached the maximum of {ENDPOINTS_MAX} test webhook endpoints.")


def _secret(account: Account, id_: str) -> str:
    return f"whsec_{token(f'{account.id}/{id_}/secret', 32)}"


def create_endpoint(call: Call) -> dict[str, Any]:
    """Create an endpoint and show its secret, this once."""
    account, params = call.account, call.params
    _make_room(account)
    version = params.get("api_version")
    if version is not None:
        read_version(version)
    id_ = account.ids.make("we")
    endpoint = WebhookEndpoint(
        id=id_,
        created=call.now(),
        url=_check_url(params["url"]),
        secret=_secret(account, id_),
        enabled_events=params["enabled_events"],
        api_version=version,
        description=params.get("description") or None,
        metadata=merged_metadata({}, params.get("metadata")),
    )
    account.webhook_endpoints.add(endpoint)
    return render_endpoint(endpoint) | {"secret": endpoint.secret}


def _in_path(call: Call, name: str = "webhook_endpoint") -> WebhookEndpoint:
    endpoint = call.account.webhook_endpoints.get(call.path[name])
    if endpoint is None:
        raise missing("webhook endpoint", call.path[name])
    return endpoint


def retrieve_endpoint(call: Call) -> dict[str, Any]:
    """Return an endpoint."""
    return render_endpoint(_in_path(call))


def update_endpoint(call: Call) -> dict[str, Any]:
    """Change an endpoint."""
    endpoint, params = _in_path(call), call.params
    if "url" in params:
        endpoint.url = _check_url(params["url"])
    if "enabled_events" in params:
        endpoint.enabled_events = params["enabled_events"]
    if "description" in params:
        endpoint.description = params["description"] or None
    if "disabled" in params:
        endpoint.is_enabled = not params["disabled"]
    if "metadata" in params:
        endpoint.metadata = merged_metadata(endpoint.metadata, params["metadata"])
    return render_endpoint(endpoint)


def delete_endpoint(call: Call) -> dict[str, Any]:
    """Delete an endpoint."""
    endpoint = _in_path(call)
    call.account.webhook_endpoints.remove(endpoint.id)
    return {"id": endpoint.id, "object": "webhook_endpoint", "deleted": True}


def list_endpoints(call: Call) -> dict[str, Any]:
    """List endpoints."""
    return list_page(
        call,
        call.account.webhook_endpoints,
        render_endpoint,
        noun="webhook endpoint",
        where=lambda e: e.name is None,
    )


def _render_destination(endpoint: WebhookEndpoint, include: Any = None) -> dict[str, Any]:
    shown = include or ()
    hook: dict[str, Any] = {
        "signing_secret": endpoint.secret if "webhook_endpoint.signing_secret" in shown else None,
        "url": endpoint.url if "webhook_endpoint.url" in shown else None,
    }
    return {
        "id": endpoint.id,
        "object": "v2.core.event_destination",
        "created": rfc3339(endpoint.created),
        "description": endpoint.description or "",
        "enabled_events": endpoint.enabled_events,
        "event_payload": "thin" if endpoint.is_thin else "snapshot",
        "events_from": ["@self"],
        "livemode": False,
        "metadata": endpoint.metadata,
        "name": endpoint.name,
        "snapshot_api_version": None if endpoint.is_thin else endpoint.api_version or NEWEST.value,
        "status": "enabled" if endpoint.is_enabled else "disabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": rfc3339(endpoint.created),
        "webhook_endpoint": hook,
    }


def create_destination(call: Call) -> dict[str, Any]:
    """Create an event destination: the way to receive thin events."""
    account, params = call.account, call.params
    _make_room(account)
    if params["type"] != "webhook_endpoint":
        raise unsupported(f"The destination type `{params['type']}`", "type")
    if "webhook_endpoint" not in params:
        raise refused("Missing required param: webhook_endpoint.", "webhook_endpoint")
    version = params.get("snapshot_api_version")
    if version is not None:
        read_version(version)
    id_ = account.ids.make("ed_test")
    endpoint = WebhookEndpoint(
        id=id_,
        created=call.now(),
        url=_check_url(params["webhook_endpoint"]["url"]),
        secret=_secret(account, id_),
        enabled_events=params["enabled_events"],
        api_version=version,
        description=params.get("description") or None,
        metadata=merged_metadata({}, params.get("metadata")),
        is_thin=params["event_payload"] == "thin",
        name=params["name"],
    )
    account.webhook_endpoints.add(endpoint)
    return _render_destination(endpoint, params.get("include"))


def retrieve_destination(call: Call) -> dict[str, Any]:
    """Return an event destination."""
    return _render_destination(_in_path(call, "id"), call.params.get("include"))


def list_destinations(call: Call) -> dict[str, Any]:
    """List event destinations."""
    named = [e for e in call.account.webhook_endpoints if e.name is not None]
    rows = [_render_destination(endpoint) for endpoint in reversed(named)]
    return {"data": rows, "next_page_url": None, "previous_page_url": None}


def delete_destination(call: Call) -> dict[str, Any]:
    """Delete an event destination."""
    endpoint = _in_path(call, "id")
    call.account.webhook_endpoints.remove(endpoint.id)
    return {"id": endpoint.id, "object": "v2.core.event_destination", "deleted": True}


def enable_destination(call: Call) -> dict[str, Any]:
    """Deliver again."""
    endpoint = _in_path(call, "id")
    endpoint.is_enabled = True
    return _render_destination(endpoint)


def disable_destination(call: Call) -> dict[str, Any]:
    """Stop delivering."""
    endpoint = _in_path(call, "id")
    endpoint.is_enabled = False
    return _render_destination(endpoint)


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_INCLUDE = _object([], include=_TEXTS)
_DESTINATION = _object(
    ["enabled_events", "event_payload", "name", "type"],
    description=_TEXT,
    enabled_events=_TEXTS,
    event_payload={"type": "string", "enum": ["snapshot", "thin"]},
    events_from=_TEXTS,
    include=_TEXTS,
    metadata={"type": "object"},
    name=_TEXT,
    snapshot_api_version=_TEXT,
    type=_TEXT,
    webhook_endpoint=_object(["url"], url=_TEXT),
    amazon_eventbridge={"type": "object"},
    azure_event_grid={"type": "object"},
)
"""Parameters as in SDK16 params/v2/core/_event_destination_create_params.py."""
_V2 = "/v2/core/event_destinations"
_V1 = "/v1/webhook_endpoints"
OPERATIONS = (
    Operation("POST", _V1, create_endpoint, "api_version description enabled_events metadata url"),
    Operation("GET", _V1, list_endpoints, "ending_before limit starting_after"),
    Operation("GET", f"{_V1}/{{webhook_endpoint}}", retrieve_endpoint),
    Operation(
        "POST",
        f"{_V1}/{{webhook_endpoint}}",
        update_endpoint,
        "description disabled enabled_events metadata url",
    ),
    Operation("DELETE", f"{_V1}/{{webhook_endpoint}}", delete_endpoint),
    Operation(
        "POST",
        _V2,
        create_destination,
        "description enabled_events event_payload include metadata name snapshot_api_version type "
        "webhook_endpoint",
        schema=_DESTINATION,
    ),
    Operation(
        "GET", _V2, list_destinations, "limit", schema=_object([], limit={"type": "integer"})
    ),
    Operation("GET", f"{_V2}/{{id}}", retrieve_destination, "include", schema=_INCLUDE),
    Operation("DELETE", f"{_V2}/{{id}}", delete_destination, schema=_object([])),
    Operation("POST", f"{_V2}/{{id}}/enable", enable_destination, schema=_object([])),
    Operation("POST", f"{_V2}/{{id}}/disable", disable_destination, schema=_object([])),
)
