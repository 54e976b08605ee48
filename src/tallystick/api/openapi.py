"""The API's own description, as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

import tallystick
from tallystick.api.authentication import needs
from tallystick.api.corrections import correction_paths, correction_schemas
from tallystick.api.dead_letters import dead_letter_paths
from tallystick.api.keys import key_paths, key_schemas
from tallystick.api.lateness import lateness_paths, lateness_schemas
from tallystick.domain.api_keys import Scope
from tallystick.domain.events import NAME_CHARS_MAX, EventStatus
from tallystick.domain.meters import Aggregation
from tallystick.domain.usage_windows import WindowSize

_NAME = {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX}
_INSTANT = {"type": "string", "format": "date-time"}
_SCOPES = ", ".join(Scope)
_QUANTITY = {"type": "string", "description": "An exact decimal in plain notation."}

_PROBLEMS = {
    400: "The request as a whole cannot be read.",
    401: "The key is missing, not known, expired or revoked.",
    404: "There is no such thing.",
    403: "The key lacks the scope that `scope` names; or, of a webhook, no signing secret is set.",
    409: "Several things have that name.",
    413: "The body has too many bytes or events.",
    415: "The body's type or encoding is not read.",
    429: "Too much work is waiting; repeat after Retry-After.",
    503: "The database cannot store now; nothing was stored, repeat after Retry-After.",
}


def openapi_document() -> dict[str, Any]:
    """Return the description that ``/openapi.json`` serves."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallystick",
            "version": tallystick.__version__,
            "description": "Metered billing on Stripe: usage events in, live usage out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/events": {
                "post": _post_events(
                    Scope.INGEST,
                    "postEvents",
                    "Send usage events; each gets a result of its own",
                    "Answered after the events are durable. Sending them again is safe: an event "
                    "is known by its source and id for ever. The body may be gzip.",
                )
            },
            "/v1/events/history": {
                "post": _post_events(
                    Scope.OPERATE,
                    "postHistory",
                    "Send events that count as usage and that Stripe is never told of",
                    "As POST /v1/events, for usage that was billed already. An event that was "
                    "sent here is history for ever; sent there, it is a duplicate.",
                )
            },
            "/v1/customers/{customer}/usage": {"get": _get_usage()},
            "/v1/rate": {"post": _post_rate()},
            "/v1/whatif": {"post": _post_what_if()},
            **correction_paths(_responses),
            **lateness_paths(_responses),
            **dead_letter_paths(_responses),
            **key_paths(_responses),
            "/webhooks/stripe": {"post": _post_webhook()},
            "/openapi.json": {"get": _open("This document.")},
            "/healthz": {"get": _open("The server runs and reads its database.")},
        },
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"A key with the scope that an operation names: {_SCOPES}.",
                }
            },
            "schemas": _schemas(),
        },
    }


def _post_events(scope: Scope, operation_id: str, summary: str, description: str) -> dict[str, Any]:
    event = {"$ref": "#/components/schemas/UsageEvent"}
    cloud_event = {"$ref": "#/components/schemas/CloudEvent"}
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        **needs(scope),
        "parameters": [
            {
                "name": "Content-Encoding",
                "in": "header",
                "schema": {"type": "string", "enum": ["identity", "gzip"]},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [event, {"type": "array", "items": event}]}
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
                "application/cloudevents+json": {"schema": cloud_event},
                "application/cloudevents-batch+json": {
                    "schema": {"type": "array", "items": cloud_event}
                },
            },
        },
        "responses": _responses("IngestAnswer", (400, 401, 403, 413, 415, 429, 503)),
    }


def _get_usage() -> dict[str, Any]:
    def query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
        return {"name": name, "in": "query", "required": required, "schema": schema}

    return {
        "operationId": "getUsage",
        "summary": "Live usage of a customer",
        **needs(Scope.READ),
        "parameters": [
            {"name": "customer", "in": "path", "required": True, "schema": _NAME},
            query("meter", {"type": "string", "description": "One meter's key; else all."}),
            query("from", {**_INSTANT, "description": "Else from the first event on."}),
            query("to", {**_INSTANT, "description": "Exclusive; else now."}),
            query("window", {"type": "string", "enum": list(WindowSize)}),
        ],
        "responses": _responses("Usage", (400, 401, 403, 404, 503)),
    }


def _post_rate() -> dict[str, Any]:
    return {
        "operationId": "postRate",
        "summary": "Rate a quantity at a Stripe price: the invoice lines, and how they came about",
        **needs(Scope.READ),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/RateQuestion"}}
            },
        },
        "responses": _responses("Charge", (400, 401, 403, 413, 415, 503)),
    }


def _post_what_if() -> dict[str, Any]:
    instant = {"in": "query", "schema": _INSTANT}
    return {
        "operationId": "postWhatIf",
        "summary": "Re-rate past usage of all customers under another catalog",
        **needs(Scope.READ),
        "parameters": [
            {**instant, "name": "from", "description": "Billing periods that ended after this."},
            {**instant, "name": "to", "description": "And by then; else now."},
        ],
        "requestBody": {
            "required": True,
            "description": "The other catalog, as `tallystick apply` reads it: YAML, so also JSON.",
            "content": {
                "application/yaml": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            },
        },
        "responses": _responses("WhatIf", (400, 401, 403, 413, 415, 503)),
    }


def _post_webhook() -> dict[str, Any]:
    return {
        "operationId": "postStripeWebhook",
        "security": [],
        "summary": "Take an event from Stripe; only Stripe calls this",
        "description": "Answered once the event is durable; it is dealt with later. The signature "
        "is checked over the body as it came, against each of the signing secrets.",
        "parameters": [
            {
                "name": "Stripe-Signature",
                "in": "header",
                "required": True,
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "responses": _responses("WebhookAnswer", (400, 403, 413, 415, 429, 503)),
    }


def _open(description: str) -> dict[str, Any]:
    return {
        "security": [],
        "summary": description,
        "responses": {
            "200": {
                "description": description,
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        },
    }


def _responses(schema: str, problems: tuple[int, ...]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        "200": {
            "description": "Done.",
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        }
    }
    for status in problems:
        answers[str(status)] = {
            "description": _PROBLEMS[status],
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
    return answers


def _schemas() -> dict[str, Any]:
    text = {"type": "string"}
    number = {"type": ["number", "string"], "description": "A number or a decimal string."}
    count = {"type": "integer", "minimum": 0}
    optional = {"type": ["string", "null"]}
    return {
        "UsageEvent": _object(
            {
                "id": {**_NAME, "description": "Only a source that derives ids may leave it out."},
                "source": {**_NAME, "default": "default"},
                "type": _NAME,
                "customer": _NAME,
                "time": _INSTANT,
                "value": {**number, "default": 1},
                "properties": {"type": "object"},
            },
            ("type", "customer", "time"),
        )
        | {"additionalProperties": False},
        "CloudEvent": _object(
            {
                "specversion": {"const": "1.0"},
                "id": _NAME,
                "source": _NAME,
                "type": _NAME,
                "subject": _NAME,
                "time": _INSTANT,
                "data": {"type": "object", "properties": {"value": number}},
            },
            ("specversion", "id", "source", "type", "subject", "time"),
        ),
        "IngestAnswer": _object(
            {
                "accepted": count,
                "duplicates": count,
                "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}},
            }
        ),
        "Result": _object(
            {
                "index": count,
                "id": optional,
                "status": {"type": "string", "enum": list(EventStatus)},
                "code": optional,
                "detail": optional,
            }
        ),
        "WebhookAnswer": _object({"received": {"type": "boolean"}, "known": {"type": "boolean"}}),
        "Usage": _object(
            {
                "customer": text,
                "from": _INSTANT,
                "to": _INSTANT,
                "window": {"enum": [*WindowSize, None]},
                "usage": {"type": "array", "items": {"$ref": "#/components/schemas/MeterUsage"}},
            }
        ),
        "MeterUsage": _object(
            {
                "meter": text,
                "aggregation": {"type": "string", "enum": list(Aggregation)},
                "quantity": _QUANTITY,
                "groups": {
                    "type": "array",
                    "description": "By the values of the meter's group_by, where it has one.",
                    "items": _object({"group": {"type": "object"}, "quantity": _QUANTITY}),
                },
                "windows": {
                    "type": "array",
                    "items": _object({"from": _INSTANT, "to": _INSTANT, "quantity": _QUANTITY}),
                },
            },
            ("meter", "aggregation", "quantity"),
        ),
        "RateQuestion": _object(
            {
                "price": {
                    "type": "object",
                    "description": "A Stripe price, in the shape of a request or a response.",
                },
                "usage": number,
            }
        ),
        "Charge": _object(
            {
                "currency": text,
                "amount": {"type": "integer", "description": "Minor units."},
                "lines": {
                    "type": "array",
                    "items": _object(
                        {"quantity": _QUANTITY, "amount": {"type": "integer"}, "description": text}
                    ),
                },
                "trace": {"type": "array", "items": text},
            }
        ),
        "WhatIf": _object(
            {
                "from": _INSTANT,
                "to": _INSTANT,
                "totals": {"type": "array", "items": _object(_difference())},
                "customers": {
                    "type": "array",
                    "items": _object({"customer": text, **_difference()}),
                },
                "unrated": {
                    "type": "array",
                    "items": _object({"customer": text, "subscription_item": text, "reason": text}),
                },
            }
        ),
        **correction_schemas(),
        **lateness_schemas(),
        **key_schemas(),
        "Answer": {"type": "object"},
        "Problem": _object(
            {"type": text, "title": text, "status": count, "code": text, "detail": text}
        ),
    }


def _difference() -> dict[str, Any]:
    minor = {"type": "integer", "description": "Minor units."}
    return {"currency": {"type": "string"}, "before": minor, "after": minor, "difference": minor}


def _object(properties: dict[str, Any], required: tuple[str, ...] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }
