"""Operations: a method and path of Stripe's, what of it is acted on, and who does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.wire.additions import UNSERVED_PATHS, with_additions
from tallystick.sandbox.wire.parameters import (
    Reader,
    Supported,
    compile_schema,
    parse_supported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.versions import Version


@dataclass(slots=True)
class Call:
    """One request, read and checked."""

    account: Account
    params: dict[str, Any]
    path: dict[str, str]
    version: Version
    request_id: str
    url: str
    idempotency_key: str | None = None

    def now(self, test_clock: str | None = None) -> int:
        """Return the time on a clock of the account."""
        return self.account.now(test_clock)


if TYPE_CHECKING:
    Handler = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A method and path, and the function that answers it.

    ``supports`` names the parameters that are acted on; ``expand`` always is.
    """

    method: str
    path: str
    handler: Handler
    supports: str = ""
    schema: dict[str, Any] | None = None
    """Parameter schema, where Stripe's OpenAPI subset does not have the path or differs."""


@dataclass(slots=True)
class Route:
    """A path of Stripe's: answered by an operation, or known and not supported."""

    method: str
    template: str
    reader: Reader | None
    handler: Handler | None
    names: tuple[str, ...]
    is_v2: bool


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    any_id: _Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """Finds the route of a path; every path of Stripe's subset is known."""

    def __init__(self, openapi: dict[str, Any], operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for path, methods in openapi["paths"].items():
            for method in methods:
                self._add(Route(method.upper(), path, None, None, _names(path), is_v2=False))
        for method, path in UNSERVED_PATHS:
            self._add(Route(method, path, None, None, _names(path), is_v2=False))
        for operation in operations:
            documented = openapi["paths"].get(operation.path, {}).get(operation.method.lower())
            schema = operation.schema or with_additions(
                operation.method, operation.path, parameter_schema(documented or {})
            )
            self._add(
                Route(
                    operation.method,
                    operation.path,
                    compile_schema(schema, _with_expand(operation.supports)),
                    operation.handler,
                    _names(operation.path),
                    is_v2=operation.path.startswith("/v2/"),
                )
            )

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.template.strip("/").split("/"):
            if segment.startswith("{"):
                node.any_id = node.any_id or _Node()
                node = node.any_id
            else:
                node = node.literal.setdefault(segment, _Node())
        node.routes[route.method] = route

    def find(self, method: str, segments: list[str]) -> tuple[Route, dict[str, str]] | None:
        """Return the route and the ids in the path."""
        ids: list[str] = []
        node = _walk(self._root, segments, 0, ids)
        if node is None:
            return None
        route = node.routes.get(method)
        if route is None:
            return None
        return route, dict(zip(route.names, ids, strict=True))


def _walk(node: _Node, segments: list[str], depth: int, ids: list[str]) -> _Node | None:
    if depth == len(segments):
        return node if node.routes else None
    segment = segments[depth]
    below = node.literal.get(segment)
    if below is not None:
        found = _walk(below, segments, depth + 1, ids)
        if found is not None:
            return found
    if node.any_id is None or segment == "":
        return None
    ids.append(segment)
    found = _walk(node.any_id, segments, depth + 1, ids)
    if found is None:
        ids.pop()
    return found


def _names(path: str) -> tuple[str, ...]:
    return tuple(part[1:-1] for part in path.split("/") if part.startswith("{"))


def _with_expand(supports: str) -> Supported:
    return parse_supported(f"{supports} expand")


def parameter_schema(documented: dict[str, Any]) -> dict[str, Any]:
    """Return the one object schema of an operation's query or body."""
    body = documented.get("requestBody", {}).get("content", {})
    for content in body.values():
        schema: dict[str, Any] = content["schema"]
        if schema.get("properties"):
            return schema
    query = [p for p in documented.get("parameters", []) if p["in"] == "query"]
    return {
        "type": "object",
        "properties": {p["name"]: p["schema"] for p in query}
        or {"expand": {"type": "array", "items": {"type": "string"}}},
        "required": [p["name"] for p in query if p.get("required")],
    }
