"""The HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import anyio
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallystick.api.authentication import KeyCheck
from tallystick.api.corrections import CorrectionEndpoints
from tallystick.api.dead_letters import DeadLetterEndpoints
from tallystick.api.events import HISTORY_PATH, EventsEndpoint, EventsFirst
from tallystick.api.keys import KeyEndpoints
from tallystick.api.lateness import LatenessEndpoint
from tallystick.api.openapi import openapi_document
from tallystick.api.problems import Problem, problem_of
from tallystick.api.rating import RatingEndpoints
from tallystick.api.webhooks import WebhookEndpoint, WebhookProduct
from tallystick.domain.api_keys import Scope
from tallystick.domain.instants import parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.usage_windows import WindowSize
from tallystick.oversight.usage_view import usage_view
from tallystick.pipeline.ingest import EARLIEST_AT
from tallystick.ports.errors import PortError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tallystick.billing.dead_letters import DeadLetters
    from tallystick.domain.meters import Meter
    from tallystick.pipeline.corrections import Corrections
    from tallystick.pipeline.ingest import Ingest
    from tallystick.pipeline.lateness import LatenessTally
    from tallystick.ports.api_keys import ApiKeys
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory, Installation
    from tallystick.ports.event_store import UsageReader
    from tallystick.ports.lateness import LatenessBook
    from tallystick.ports.outbox import Outbox, StuckReports

_encoder = msgspec.json.Encoder()


class Product(WebhookProduct, Protocol):
    """What the API needs of the product; ``wiring.Tallystick`` is one."""

    ingest: Ingest
    usage: UsageReader
    catalog: CatalogStore
    customers: CustomerDirectory
    installation: Installation
    outbox: Outbox
    stuck_reports: StuckReports
    api_keys: ApiKeys
    corrections: Corrections
    lateness: LatenessBook
    lateness_tally: LatenessTally
    clock: Clock

    @property
    def dead_letters(self) -> DeadLetters:
        """What shows stuck reports and moves them on."""
        ...


def create_app(product: Product) -> ASGIApp:
    """Return the API over a product."""
    endpoints = _Endpoints(product)
    events = EventsEndpoint(product.ingest, endpoints.keys)
    return EventsFirst(events, _routed(product, endpoints))


def _routed(product: Product, endpoints: _Endpoints) -> Starlette:
    authorize = endpoints.keys.authorize
    rating = RatingEndpoints(product, authorize)
    return Starlette(
        routes=[
            Route(HISTORY_PATH, endpoints.history, methods=["POST"]),
            *CorrectionEndpoints(product, authorize).routes(),
            Route("/v1/customers/{customer:path}/usage", endpoints.get_usage, methods=["GET"]),
            *LatenessEndpoint(product, authorize, endpoints.meters).routes(),
            Route("/v1/rate", rating.post_rate, methods=["POST"]),
            Route("/v1/whatif", rating.post_what_if, methods=["POST"]),
            *DeadLetterEndpoints(product, authorize).routes(),
            *KeyEndpoints(product, authorize).routes(),
            Route("/webhooks/stripe", WebhookEndpoint(product).post, methods=["POST"]),
            Route("/openapi.json", endpoints.get_openapi, methods=["GET"]),
            Route("/healthz", endpoints.get_health, methods=["GET"]),
        ],
        exception_handlers={
            Problem: _answer_problem,
            PortError: _answer_port_error,
            HTTPException: _answer_http_exception,
            Exception: _answer_unforeseen,
        },
    )


class _Endpoints:
    def __init__(self, product: Product) -> None:
        self._product = product
        self.keys = KeyCheck(product.api_keys, product.clock)
        self.history = EventsEndpoint(product.ingest, self.keys, is_history=True)
        self._openapi = _encoder.encode(openapi_document())

    async def get_usage(self, request: Request) -> Response:
        self.keys.authorize(request, Scope.READ)
        query = request.query_params
        meters = self.meters(query.get("meter"))
        period = self._period(query.get("from"), query.get("to"))
        size = _window(query.get("window"))
        try:
            shown = await anyio.to_thread.run_sync(
                lambda: usage_view(
                    self._product.usage, meters, request.path_params["customer"], period, size
                )
            )
        except ValueError as error:
            raise Problem(400, "invalid_window", str(error)) from None
        return _json(shown)

    async def get_openapi(self, _request: Request) -> Response:
        return Response(self._openapi, media_type="application/json")

    async def get_health(self, _request: Request) -> Response:
        version = await anyio.to_thread.run_sync(self._product.installation.schema_version)
        return _json({"status": "ok", "schema_version": version})

    def meters(self, key: str | None) -> list[Meter]:
        """Return the meter of that key, or all of them where none is named.

        Raises:
            Problem: 400.
        """
        known = self._product.catalog.meters().by_key
        if not key:
            return list(known.values())
        if key not in known:
            shown = ", ".join(sorted(known)) or "none yet"
            raise Problem(400, "unknown_meter", f"there is no meter {key!r}; meters: {shown}")
        return [known[key]]

    def _period(self, from_text: str | None, to_text: str | None) -> Period:
        try:
            start_at = parse_instant(from_text) if from_text else EARLIEST_AT
            end_at = parse_instant(to_text) if to_text else self._product.clock.now()
            return Period(start_at, end_at)
        except (ValueError, OverflowError) as error:
            raise Problem(400, "invalid_period", str(error)) from None


def _window(text: str | None) -> WindowSize | None:
    if not text:
        return None
    try:
        return WindowSize(text)
    except ValueError:
        raise Problem(
            400, "invalid_window", f"window is {text!r}; it can be {', '.join(WindowSize)}"
        ) from None


def _json(body: Any) -> Response:
    return Response(_encoder.encode(body), media_type="application/json")


async def _answer_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _answer_port_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, PortError)
    return problem_of(error).response()


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    detail = f"{request.method} {request.url.path}: {error.detail}"
    headers = dict(error.headers or {})
    return Problem(
        error.status_code, codes.get(error.status_code, "http_error"), detail, headers
    ).response()


async def _answer_unforeseen(_request: Request, _error: Exception) -> Response:
    """Answer for a bug of ours; the server logs it with its traceback."""
    return Problem.unforeseen().response()
