"""Corrections over HTTP: what `tallystick events` does, one or many, each with its own result."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol, TypeVar

import anyio
import msgspec
from starlette.responses import Response
from starlette.routing import Route

from tallystick.api.authentication import Authorize, needs
from tallystick.api.bodies import read_body
from tallystick.api.problems import Problem
from tallystick.domain.api_keys import ApiKey, Scope
from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import DEFAULT_SOURCE, NAME_CHARS_MAX
from tallystick.pipeline.corrections import CorrectionRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from tallystick.pipeline.corrections import Corrections, Outcome

BULK_MAX = 1_000
"""Corrections of one request: each counts an hour anew, and ingest waits for all of them."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]


class Product(Protocol):
    """What these endpoints need; ``wiring.Tallystick`` is one."""

    corrections: Corrections


class VoidRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An event that is to count for nothing."""

    id: _Name
    source: _Name = DEFAULT_SOURCE
    reason: str


class ReplaceRequest(VoidRequest, kw_only=True):
    """An event that is to count for another value."""

    value: Decimal


class _Refusal(NamedTuple):
    """A correction that cannot be read or that this key may not make."""

    source: str | None
    id: str | None
    code: str
    detail: str


_Asked = TypeVar("_Asked", bound=VoidRequest)

_array = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, Any])
_void = msgspec.json.Decoder(VoidRequest)
_replace = msgspec.json.Decoder(ReplaceRequest, float_hook=Decimal)


class CorrectionEndpoints:
    """``POST /v1/events/void`` and ``POST /v1/events/replace``; the actor is the key's name."""

    def __init__(self, product: Product, authorize: Authorize) -> None:
        self._corrections = product.corrections
        self._authorize = authorize

    def routes(self) -> list[Route]:
        """Return the routes of both."""
        return [
            Route("/v1/events/void", self.post_void, methods=["POST"]),
            Route("/v1/events/replace", self.post_replace, methods=["POST"]),
        ]

    async def post_void(self, request: Request) -> Response:
        """Let events count for nothing."""
        return await self._answered(request, _void)

    async def post_replace(self, request: Request) -> Response:
        """Let events count for other values."""
        return await self._answered(request, _replace)

    async def _answered(self, request: Request, read: msgspec.json.Decoder[_Asked]) -> Response:
        key = self._authorize(request, Scope.OPERATE)
        items = _items(await read_body(request))
        asked = [_read(item, read, key) for item in items]
        sound = [each for each in asked if isinstance(each, Correction)]
        outcomes = iter(await anyio.to_thread.run_sync(self._corrections.correct_all, sound))
        results = [
            _result(index, each, next(outcomes))
            if isinstance(each, Correction)
            else {"index": index, **_invalid(each)}
            for index, each in enumerate(asked)
        ]
        corrected = sum(result["status"] == CorrectionStatus.CORRECTED for result in results)
        body = {"corrected": corrected, "results": results}
        return Response(msgspec.json.encode(body), media_type="application/json")


def _items(body: bytes) -> Sequence[msgspec.Raw | bytes]:
    """Return each correction's JSON: the body is one, or an array of them."""
    try:
        if not body.lstrip().startswith(b"["):
            msgspec.json.decode(body, type=msgspec.Raw)
            return [body]
        items = _array.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "invalid_json", f"the body is not valid JSON: {error}") from None
    if len(items) > BULK_MAX:
        raise Problem(
            413,
            "too_many_corrections",
            f"the request has {len(items)} corrections; {BULK_MAX} are the most",
        )
    return items


def _read(
    raw: msgspec.Raw | bytes, read: msgspec.json.Decoder[_Asked], key: ApiKey
) -> Correction | _Refusal:
    text = bytes(raw)
    try:
        asked = read.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _Refusal(None, _id_of(text), "correction_invalid", str(error))
    if key.source is not None and asked.source != key.source:
        return _Refusal(
            asked.source,
            asked.id,
            "source_forbidden",
            f"the key is bound to source {key.source!r} and the event is of {asked.source!r}",
        )
    value = asked.value if isinstance(asked, ReplaceRequest) else None
    return Correction(asked.source, asked.id, value, key.name, asked.reason)


def _id_of(raw: bytes) -> str | None:
    try:
        found = _object.decode(raw).get("id")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _result(index: int, correction: Correction, outcome: Outcome) -> dict[str, Any]:
    named = {"index": index, "source": correction.source, "id": correction.id}
    if isinstance(outcome, CorrectionRefused):
        return {**named, "status": "invalid", "code": outcome.code, "detail": str(outcome)}
    code = detail = None
    if outcome is CorrectionStatus.NOT_FOUND:
        code = "event_not_found"
        detail = f"no event {correction.id!r} of source {correction.source!r} is stored"
    return {**named, "status": outcome, "code": code, "detail": detail}


def _invalid(refusal: _Refusal) -> dict[str, Any]:
    source, event_id, code, detail = refusal
    return {"source": source, "id": event_id, "status": "invalid", "code": code, "detail": detail}


def correction_paths(
    responses: Callable[[str, tuple[int, ...]], dict[str, Any]],
) -> dict[str, Any]:
    """Return the OpenAPI paths of these endpoints."""
    return {
        "/v1/events/void": {
            "post": _post("voidEvents", "Let events count for nothing", "Void", responses)
        },
        "/v1/events/replace": {
            "post": _post(
                "replaceEvents", "Let events count for other values", "Replace", responses
            )
        },
    }


def _post(
    operation: str,
    summary: str,
    shape: str,
    responses: Callable[[str, tuple[int, ...]], dict[str, Any]],
) -> dict[str, Any]:
    one = {"$ref": f"#/components/schemas/{shape}"}
    many = {"type": "array", "items": one, "maxItems": BULK_MAX}
    return {
        "operationId": operation,
        "summary": summary,
        "description": "The events stay as they were sent, and usage is counted again. The key's "
        "name is kept as who decided it.",
        **needs(Scope.OPERATE),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": [one, many]}}},
        },
        "responses": responses("CorrectionAnswer", (400, 401, 403, 413, 415, 429, 503)),
    }


def correction_schemas() -> dict[str, Any]:
    """Return the OpenAPI schemas of these endpoints."""
    _, shapes = msgspec.json.schema_components([VoidRequest, ReplaceRequest])
    void, replaced = shapes["VoidRequest"], shapes["ReplaceRequest"]
    replaced["properties"]["value"] = {
        "type": ["number", "string"],
        "description": "A number or a decimal string.",
    }
    maybe = {"type": ["string", "null"]}
    result: dict[str, Any] = {
        "index": {"type": "integer", "minimum": 0},
        "source": maybe,
        "id": maybe,
        "status": {"type": "string", "enum": [*CorrectionStatus, "invalid"]},
        "code": maybe,
        "detail": maybe,
    }
    answer = {
        "corrected": {"type": "integer", "minimum": 0},
        "results": {
            "type": "array",
            "items": {"type": "object", "properties": result, "required": list(result)},
        },
    }
    return {
        "Void": void,
        "Replace": replaced,
        "CorrectionAnswer": {"type": "object", "properties": answer, "required": list(answer)},
    }
