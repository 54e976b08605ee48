"""API keys over HTTP: what `tallystick keys` does. Whoever may do this may do anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol

import anyio
import msgspec
from starlette.responses import Response
from starlette.routing import Route

from tallystick.api.authentication import Authorize, needs
from tallystick.api.bodies import read_body
from tallystick.api.problems import Problem
from tallystick.domain.api_keys import KeyStanding, Scope
from tallystick.domain.events import NAME_CHARS_MAX
from tallystick.domain.instants import parse_instant
from tallystick.domain.json_types import prepare
from tallystick.oversight.key_ring import KeyRefused, KeyRing, key_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from tallystick.ports.api_keys import ApiKeys
    from tallystick.ports.clock import Clock

BODY_BYTES_MAX = 100_000

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]


class Product(Protocol):
    """What these endpoints need; ``wiring.Tallystick`` is one."""

    api_keys: ApiKeys
    clock: Clock


class NewKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A key to be made; ``expires_at`` is a time in RFC 3339, or a date."""

    name: _Name
    scopes: list[Scope] = []
    source: _Name | None = None
    expires_at: str | None = None


prepare(NewKey)


class KeyEndpoints:
    """The endpoints; all of them need ``admin``."""

    def __init__(self, product: Product, authorize: Authorize) -> None:
        self._ring = KeyRing(product.api_keys, product.clock)
        self._clock = product.clock
        self._authorize = authorize

    def routes(self) -> list[Route]:
        """Return the routes of all of them."""
        return [
            Route("/v1/keys", self.get_list, methods=["GET"]),
            Route("/v1/keys", self.post, methods=["POST"]),
            Route("/v1/keys/{id}/revoke", self.post_revoke, methods=["POST"]),
        ]

    async def get_list(self, request: Request) -> Response:
        """Answer every key, without what clients show."""
        self._authorize(request, Scope.ADMIN)
        return _json({"keys": await anyio.to_thread.run_sync(self._ring.listed)})

    async def post(self, request: Request) -> Response:
        """Make a key and answer it once."""
        self._authorize(request, Scope.ADMIN)
        try:
            asked = msgspec.json.decode(await read_body(request, BODY_BYTES_MAX), type=NewKey)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Problem(400, "invalid_body", str(error)) from None
        try:
            expires_at = parse_instant(asked.expires_at) if asked.expires_at else None
        except (ValueError, OverflowError) as error:
            raise Problem(400, "invalid_expiry", str(error)) from None

        def create() -> dict[str, Any]:
            key, shown = self._ring.create(
                asked.name, asked.scopes, source=asked.source, expires_at=expires_at
            )
            return {"key": shown, **key_view(key, self._clock.now())}

        try:
            return _json(await anyio.to_thread.run_sync(create))
        except KeyRefused as error:
            raise Problem(400, error.code, str(error)) from None

    async def post_revoke(self, request: Request) -> Response:
        """End a key by its id or name."""
        self._authorize(request, Scope.ADMIN)
        try:
            revoked = await anyio.to_thread.run_sync(self._ring.revoke, request.path_params["id"])
        except KeyRefused as error:
            status = 404 if error.code == "key_not_found" else 409
            raise Problem(status, error.code, str(error)) from None
        return _json(revoked)


def key_paths(responses: Callable[[str, tuple[int, ...]], dict[str, Any]]) -> dict[str, Any]:
    """Return the OpenAPI paths of these endpoints."""
    _, shapes = msgspec.json.schema_components([NewKey])
    shape = shapes["NewKey"]
    scope = {"type": "string", "enum": list(Scope)}
    shape["properties"]["scopes"]["items"] = scope
    shape["properties"]["scopes"]["description"] = "Left out: ingest and read, or ingest alone."
    return {
        "/v1/keys": {
            "get": {
                "operationId": "listKeys",
                "summary": "Every key that there ever was, without what clients show",
                **needs(Scope.ADMIN),
                "responses": responses("Keys", (401, 403, 503)),
            },
            "post": {
                "operationId": "createKey",
                "summary": "Make a key; the answer has it, this once",
                **needs(Scope.ADMIN),
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": shape}},
                },
                "responses": responses("NewKey", (400, 401, 403, 413, 415, 503)),
            },
        },
        "/v1/keys/{id}/revoke": {
            "post": {
                "operationId": "revokeKey",
                "summary": "End a key for ever",
                **needs(Scope.ADMIN),
                "parameters": [
                    {
                        "name": "id",
                        "in": "path",
                        "required": True,
                        "description": "Its id; or its name, if one key of that name is in use.",
                        "schema": {"type": "string", "minLength": 1},
                    }
                ],
                "responses": responses("Key", (401, 403, 404, 409, 503)),
            }
        },
    }


def key_schemas() -> dict[str, Any]:
    """Return the OpenAPI schemas of what these endpoints answer."""
    text, instant = {"type": "string"}, {"type": "string", "format": "date-time"}
    maybe = {"type": ["string", "null"]}
    key: dict[str, Any] = {
        "id": text,
        "name": text,
        "scopes": {"type": "array", "items": {"type": "string", "enum": list(Scope)}},
        "source": maybe,
        "status": {"type": "string", "enum": list(KeyStanding)},
        "created_at": instant,
        "expires_at": maybe,
        "revoked_at": maybe,
        "last_used_at": maybe,
    }
    listed = {"type": "array", "items": {"$ref": "#/components/schemas/Key"}}
    shown = {**key, "key": text}
    return {
        "Key": {"type": "object", "properties": key, "required": list(key)},
        "NewKey": {"type": "object", "properties": shown, "required": list(shown)},
        "Keys": {"type": "object", "properties": {"keys": listed}, "required": ["keys"]},
    }


def _json(body: Any) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
