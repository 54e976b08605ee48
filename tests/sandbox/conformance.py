"""Every exchange of the tests, held against Stripe's own OpenAPI facts.

The clients of these tests check each v1 answer against the documented schema of its status, and
each parameter of a request that was accepted. What may differ is written down here, with why.
"""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import stripe
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs

if TYPE_CHECKING:
    from collections.abc import Mapping

ACACIA = "2025-02-24.acacia"

EXTRA_FIELDS = {
    "subscription_item": {"plan", "billing_thresholds"},  # recorded in 2025-10-29.clover
    "subscription": {"plan", "quantity"},  # recorded in 2025-10-29.clover
    "product": {"attributes", "type"},  # recorded; deprecated and undocumented
    "payment_intent": {"source"},  # recorded; deprecated
    "recurring": {"trial_period_days"},  # recorded; deprecated
    "charge_outcome": {"advice_code"},  # recorded
}
"""Fields that Stripe sends (seen in recordings) and its OpenAPI facts do not list."""

EXTRA_LIST_FIELDS = {"total_count"}  # recorded on embedded lists

UNLISTED_PATHS = {"/v1/charges/": "charge"}
"""Addresses that the sandbox serves beyond the subset, which has only their objects' schemas."""

EXTRA_PARAMETERS = {
    ("POST", "/v1/products"): {"type"},  # deprecated
    ("POST", "/v1/prices"): {"recurring.aggregate_usage", "recurring.trial_period_days"},  # acacia
    ("POST", "/v1/plans"): {"aggregate_usage"},  # acacia
    ("POST", "/v1/subscriptions"): {"items.plan"},  # recorded
    ("POST", "/v1/subscriptions/{subscription_exposed_id}"): {
        "items.plan",  # recorded
        "billing_cycle_anchor.type",  # endive: a hash on update
    },
    ("POST", "/v1/subscription_items"): {"plan"},  # recorded
    ("POST", "/v1/subscription_items/{item}"): {"plan"},  # recorded
}
"""Parameters beyond the subset, which is dahlia's."""


class NonConformance(AssertionError):
    """An exchange that Stripe's facts do not allow."""


@cache
def openapi() -> dict[str, Any]:
    """Return the facts that the sandbox carries, with the legacy usage records added."""
    folder = resources.files("tallystick.sandbox.facts")
    subset: dict[str, Any] = json.loads(
        gzip.decompress((folder / "openapi_v1_subset.json.gz").read_bytes())
    )
    legacy = json.loads((folder / "openapi_usage_records.json").read_text())
    subset["paths"].update(legacy["paths"])
    for name, schema in legacy["components"]["schemas"].items():
        subset["components"]["schemas"].setdefault(name, schema)
    return subset


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    ordered = sorted(openapi()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), path) for path in ordered]


def template_of(path: str) -> str | None:
    """Return the documented path that an address belongs to."""
    for pattern, template in _patterns():
        if pattern.match(path):
            return template
    return None


def json_schema(node: Any, name: str = "") -> Any:
    """Return an OpenAPI schema as JSON Schema: ``nullable`` spelled out, no unknown fields."""
    if isinstance(node, list):
        return [json_schema(child) for child in node]
    if not isinstance(node, dict):
        return node
    turned = {
        key: {field: json_schema(inner) for field, inner in value.items()}
        if key == "properties"
        else json_schema(value)
        for key, value in node.items()
        if key not in ("nullable", "expansionResources", "format", "pattern")
        and not key.startswith("x-")
    }
    if turned.get("properties"):
        turned["properties"] |= dict.fromkeys(EXTRA_FIELDS.get(name, ()), True)
        if "has_more" in turned["properties"]:
            turned["properties"] |= dict.fromkeys(EXTRA_LIST_FIELDS, True)
        turned["additionalProperties"] = False
    if node.get("nullable"):
        return {"anyOf": [turned, {"type": "null"}]}
    return turned


@cache
def _definitions() -> dict[str, Any]:
    schemas = openapi()["components"]["schemas"]
    return {name: json_schema(schema, name) for name, schema in schemas.items()}


@cache
def _validator(method: str, template: str, status: str) -> Draft202012Validator:
    operation = openapi()["paths"][template][method.lower()]
    documented = operation["responses"].get(status) or operation["responses"]["default"]
    schema = json_schema(documented["content"]["application/json"]["schema"])
    root = {"components": {"schemas": _definitions()}, **schema}
    return Draft202012Validator(root)


@cache
def _component(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return Draft202012Validator({"components": {"schemas": _definitions()}, **schema})


def check_answer(method: str, path: str, status: int, body: bytes) -> None:
    """Hold an answer against its documented schema.

    Raises:
        NonConformance: a field is missing, unknown or of another type.
    """
    template = template_of(path)
    if template is None or method.lower() not in openapi()["paths"][template]:
        kinds = [kind for start, kind in UNLISTED_PATHS.items() if path.startswith(start)]
        if status != 200:
            return
        if not kinds:
            raise NonConformance(f"{method} {path} is not documented")
        validator = _component(kinds[0])
    else:
        validator = _validator(method, template, str(status))
    errors = list(validator.iter_errors(json.loads(body)))
    if errors:
        first = _deepest(errors[0])
        where = ".".join(str(part) for part in first.absolute_path)
        raise NonConformance(f"{method} {path} -> {status}: {where}: {first.message[:300]}")


def _deepest(error: Any) -> Any:
    """Return the most telling cause: the one that lies deepest in the answer."""
    while error.context:
        error = max(error.context, key=lambda cause: len(cause.absolute_path))
    return error


def check_parameters(method: str, path: str, query: str) -> None:
    """See that the parameters of an accepted request are documented or listed above.

    Raises:
        NonConformance: one is neither.
    """
    template = template_of(path)
    if template is None:
        return
    operation = openapi()["paths"][template][method.lower()]
    body = operation.get("requestBody", {}).get("content", {})
    properties: dict[str, Any] = {}
    for content in body.values():
        properties |= content["schema"].get("properties", {})
    properties |= (
        {p["name"]: p["schema"] for p in operation["parameters"] if p["in"] == "query"}
        if "parameters" in operation
        else {}
    )
    allowed = EXTRA_PARAMETERS.get((method, template), set())
    for key, _ in parse_qsl(query, keep_blank_values=True):
        segments = [part for part in re.split(r"[\[\]]+", key) if part]
        names = [part for part in segments if not part.isdigit()]
        if ".".join(names) not in allowed and not _is_documented(properties, segments):
            raise NonConformance(f"{method} {path} accepted the undocumented parameter {key}")


def _is_documented(properties: dict[str, Any], segments: list[str]) -> bool:
    node: dict[str, Any] = {"type": "object", "properties": properties}
    for segment in segments:
        following = _step(node, segment)
        if following is None:
            return False
        node = following
    return True


def _step(node: dict[str, Any], segment: str) -> dict[str, Any] | None:
    for option in node.get("anyOf", [node]):
        if segment in option.get("properties", {}):
            found: dict[str, Any] = option["properties"][segment]
            return found
        if option.get("type") == "array" and segment.isdigit():
            items: dict[str, Any] = option["items"]
            return items
        free = option.get("additionalProperties")
        if isinstance(free, dict):
            return free
    return None


class CheckingClient(stripe.RequestsClient):
    """The SDK's HTTP client, which also checks every v1 exchange."""

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[Any, int, Mapping[str, str]]:
        """Send a request and hold it and its answer against the facts."""
        body, status, answered = super().request(method, url, headers, post_data)
        target = urlsplit(url)
        older = dict(headers or {}).get("Stripe-Version") == ACACIA
        is_usage_record = "usage_record" in target.path
        if target.path.startswith("/v1/") and (not older or is_usage_record):
            check_answer(method.upper(), target.path, status, body)
        if target.path.startswith("/v1/") and status == 200:
            sent = post_data if isinstance(post_data, str) else target.query
            check_parameters(method.upper(), target.path, sent or "")
        return body, status, answered
