"""What the vendored OpenAPI subset (dahlia) leaves out: older and newer parameters, by path.

Sources: SDK11 (2025-02-24.acacia: ``aggregate_usage``), recordings (``plan`` in items),
SDK16 (2026-10-28.endive: ``billing_cycle_anchor`` as a hash on update).
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string", "maxLength": 5000}
_AGGREGATE_USAGE = {
    "type": "string",
    "enum": ["sum", "last_during_period", "last_ever", "max"],
}
_ITEMS_PLAN = {"items": {"items": {"properties": {"plan": _TEXT}}}}
_ANCHOR_HASH = {
    "billing_cycle_anchor": {
        "anyOf": [
            {
                "type": "object",
                "properties": {"type": {"type": "string", "enum": ["now", "unchanged"]}},
                "required": ["type"],
            },
            {"type": "string", "enum": ["now", "unchanged"]},
        ]
    }
}

ADDITIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/products"): {"type": {"type": "string", "enum": ["good", "service"]}},
    ("POST", "/v1/prices"): {
        "recurring": {
            "properties": {
                "aggregate_usage": _AGGREGATE_USAGE,
                "trial_period_days": {"type": "integer"},
            }
        }
    },
    ("POST", "/v1/plans"): {"aggregate_usage": _AGGREGATE_USAGE},
    ("POST", "/v1/subscriptions"): _ITEMS_PLAN,
    ("POST", "/v1/subscriptions/{subscription_exposed_id}"): _ITEMS_PLAN | _ANCHOR_HASH,
    ("POST", "/v1/subscription_items"): {"plan": _TEXT},
    ("POST", "/v1/subscription_items/{item}"): {"plan": _TEXT},
}

UNSERVED_PATHS = (
    ("POST", "/v1/subscriptions/{subscription}/pause"),  # endive
    ("GET", "/v1/charges"),
    ("POST", "/v1/charges"),
    ("POST", "/v1/charges/{charge}"),
    ("GET", "/v1/quotes"),
    ("POST", "/v1/quotes"),
    ("POST", "/v1/tokens"),
)
"""Paths of Stripe's beside the subset that are answered as not supported."""


def with_additions(method: str, path: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter schema with what the subset leaves out."""
    extra = ADDITIONS.get((method, path))
    if extra is None:
        return schema
    return {**schema, "properties": _merged(schema["properties"], extra)}


def _merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        replaces = "anyOf" in value if isinstance(value, dict) else True
        if isinstance(old, dict) and isinstance(value, dict) and not replaces:
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged
