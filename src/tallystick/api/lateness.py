"""``GET /v1/lateness``: how late the events of each meter arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import anyio
import msgspec
from starlette.responses import Response
from starlette.routing import Route

from tallystick.api.authentication import Authorize, needs
from tallystick.api.problems import Problem
from tallystick.domain.api_keys import Scope
from tallystick.oversight.lateness_view import USUAL_DAYS, days_between, lateness_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from tallystick.domain.meters import Meter
    from tallystick.pipeline.lateness import LatenessTally
    from tallystick.ports.clock import Clock
    from tallystick.ports.lateness import LatenessBook

BATCHES_MAX = 4
"""Batches counted before an answer; what is left waits for the worker, and the answer says so."""


class Product(Protocol):
    """What this endpoint needs; ``wiring.Tallystick`` is one."""

    lateness: LatenessBook
    lateness_tally: LatenessTally
    clock: Clock


class LatenessEndpoint:
    """The endpoint; ``meters_of`` returns the meters that a request names."""

    def __init__(
        self,
        product: Product,
        authorize: Authorize,
        meters_of: Callable[[str | None], list[Meter]],
    ) -> None:
        self._product = product
        self._authorize = authorize
        self._meters_of = meters_of

    def routes(self) -> list[Route]:
        """Return its route."""
        return [Route("/v1/lateness", self.get, methods=["GET"])]

    async def get(self, request: Request) -> Response:
        """Answer what `tallystick lateness --json` prints."""
        self._authorize(request, Scope.READ)
        query, product = request.query_params, self._product
        meters = self._meters_of(query.get("meter"))
        try:
            days = days_between(query.get("from"), query.get("to"), product.clock.now())
        except (ValueError, OverflowError) as error:
            raise Problem(400, "invalid_period", str(error)) from None

        def view() -> dict[str, Any]:
            return lateness_view(
                product.lateness, product.lateness_tally, meters, days, batches_max=BATCHES_MAX
            )

        shown = await anyio.to_thread.run_sync(view)
        return Response(msgspec.json.encode(shown), media_type="application/json")


def lateness_paths(responses: Callable[[str, tuple[int, ...]], dict[str, Any]]) -> dict[str, Any]:
    """Return the OpenAPI paths of this endpoint."""
    day = {"in": "query", "schema": {"type": "string", "format": "date"}}
    return {
        "/v1/lateness": {
            "get": {
                "operationId": "getLateness",
                "summary": "How late events arrive, by meter",
                **needs(Scope.READ),
                "parameters": [
                    {"name": "meter", "in": "query", "schema": {"type": "string"}},
                    {
                        **day,
                        "name": "from",
                        "description": f"Day of arrival; else the last {USUAL_DAYS} days.",
                    },
                    {**day, "name": "to", "description": "Exclusive; else with today."},
                ],
                "responses": responses("Lateness", (400, 401, 403, 503)),
            }
        }
    }


def lateness_schemas() -> dict[str, Any]:
    """Return the OpenAPI schemas of this endpoint."""
    text, instant = {"type": "string"}, {"type": "string", "format": "date-time"}
    count, maybe = {"type": "integer", "minimum": 0}, {"type": ["string", "null"]}
    meter: dict[str, Any] = {
        "meter": text,
        "events": count,
        "p50_seconds": {**maybe, "description": "Half of the events took less."},
        "p99_seconds": {**maybe, "description": "99 in 100 took less."},
        "late": {**count, "description": "Took an hour or more."},
        "late_share": maybe,
        "ahead": {**count, "description": "Arrived before they happened."},
    }
    answer: dict[str, Any] = {
        "from": instant,
        "to": instant,
        "late_after_seconds": text,
        "waiting": {**count, "description": "Events that are not counted yet."},
        "meters": {
            "type": "array",
            "items": {"type": "object", "properties": meter, "required": list(meter)},
        },
    }
    return {"Lateness": {"type": "object", "properties": answer, "required": list(answer)}}
