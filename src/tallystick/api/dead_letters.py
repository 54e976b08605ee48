"""Dead letters over HTTP: what `tallystick dead` does, and how deep the outbox is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

import anyio
import msgspec
from starlette.responses import Response
from starlette.routing import Route

from tallystick.api.authentication import Authorize, needs
from tallystick.api.bodies import read_body
from tallystick.api.problems import Problem
from tallystick.billing.dead_letters import BULK_MAX, Remedied
from tallystick.domain.api_keys import ApiKey, Scope
from tallystick.domain.json_types import prepare
from tallystick.domain.reports import STUCK, ReportState
from tallystick.oversight.dead_letter_view import letter_view
from tallystick.oversight.outbox_view import depth_view
from tallystick.ports.outbox import Decision, StuckFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from tallystick.billing.dead_letters import DeadLetters
    from tallystick.ports.clock import Clock
    from tallystick.ports.outbox import Outbox, StuckReports

T = TypeVar("T")

LIST_LIMIT = 50
BULK_LIMIT = 100
ID_MAX = 2**63 - 1

_encoder = msgspec.json.Encoder()


class Product(Protocol):
    """What these endpoints need; ``wiring.Tallystick`` is one."""

    outbox: Outbox
    stuck_reports: StuckReports
    clock: Clock

    @property
    def dead_letters(self) -> DeadLetters:
        """What shows stuck reports and moves them on."""
        ...


class Chosen(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which reports are meant: by their ids, or all that the filters choose; the key decides."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    ids: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1, le=ID_MAX)]], msgspec.Meta(max_length=BULK_MAX)
    ] = []
    all: bool = False
    state: Literal["dead", "unresolved", "parked"] | None = None
    customer: str | None = None
    meter: str | None = None
    cause: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=BULK_MAX)] = BULK_LIMIT

    @property
    def filter(self) -> StuckFilter:
        """The filters."""
        state = ReportState(self.state) if self.state else None
        return StuckFilter(state, self.customer, self.meter, self.cause)


class RetryRequest(Chosen):
    """Drive reports again."""

    surely_missing: bool = False


class SettleRequest(Chosen, rename={"state_to": "as"}):
    """End reports without telling Stripe."""

    state_to: Literal["delivered", "waived"]


prepare(RetryRequest, SettleRequest)


class DeadLetterEndpoints:
    """The endpoints; ``authorize`` refuses whoever may not."""

    def __init__(self, product: Product, authorize: Authorize) -> None:
        self._product = product
        self._authorize = authorize

    def routes(self) -> list[Route]:
        """Return the routes of all of them."""
        return [
            Route("/v1/outbox", self.get_outbox, methods=["GET"]),
            Route("/v1/dead-letters", self.get_list, methods=["GET"]),
            Route("/v1/dead-letters/retry", self.post_retry, methods=["POST"]),
            Route("/v1/dead-letters/settle", self.post_settle, methods=["POST"]),
            Route("/v1/dead-letters/{id:int}", self.get_one, methods=["GET"]),
        ]

    async def get_outbox(self, request: Request) -> Response:
        """Answer how much waits for Stripe."""
        self._authorize(request, Scope.READ)
        now = self._product.clock.now()
        return _json(await anyio.to_thread.run_sync(depth_view, self._product.outbox, now))

    async def get_list(self, request: Request) -> Response:
        """Answer stuck reports in the order of their ids."""
        self._authorize(request, Scope.READ)
        query = request.query_params
        state = query.get("state")
        if state is not None and state not in STUCK:
            raise Problem(400, "bad_state", f"state is {state!r}; it can be {', '.join(STUCK)}")
        chosen = StuckFilter(
            ReportState(state) if state else None,
            query.get("customer"),
            query.get("meter"),
            query.get("cause"),
        )
        after = _whole(query.get("after"), "after", 0, (0, ID_MAX))
        limit = _whole(query.get("limit"), "limit", LIST_LIMIT, (1, BULK_MAX))

        def read() -> dict[str, Any]:
            letters = self._product.dead_letters
            return {
                "total": letters.count(chosen),
                "dead_letters": [letter_view(one) for one in letters.listed(chosen, after, limit)],
            }

        return _json(await anyio.to_thread.run_sync(read))

    async def get_one(self, request: Request) -> Response:
        """Answer one report with what was decided about it."""
        self._authorize(request, Scope.READ)
        report_id = request.path_params["id"]
        if report_id > ID_MAX:
            raise _missing(report_id)
        found = await anyio.to_thread.run_sync(self._product.dead_letters.shown, report_id)
        if found is None:
            raise _missing(report_id)
        return _json(letter_view(*found))

    async def post_retry(self, request: Request) -> Response:
        """Drive reports again."""
        key = self._authorize(request, Scope.OPERATE)
        asked = _read(await read_body(request), RetryRequest)

        def retry() -> list[Remedied]:
            return self._product.dead_letters.retry(
                self._ids(asked), self._decision(asked, key), surely_missing=asked.surely_missing
            )

        return await self._answered(retry, asked)

    async def post_settle(self, request: Request) -> Response:
        """End reports."""
        key = self._authorize(request, Scope.OPERATE)
        asked = _read(await read_body(request), SettleRequest)

        def settle() -> list[Remedied]:
            return self._product.dead_letters.settle(
                self._ids(asked), ReportState(asked.state_to), self._decision(asked, key)
            )

        return await self._answered(settle, asked)

    async def _answered(self, work: Callable[[], list[Remedied]], asked: Chosen) -> Response:
        done = await anyio.to_thread.run_sync(work)
        left = await anyio.to_thread.run_sync(self._product.dead_letters.count, asked.filter)
        return _json({"reports": [each._asdict() for each in done], "left": left})

    def _ids(self, asked: Chosen) -> list[int]:
        if bool(asked.ids) == asked.all:
            raise Problem(400, "nothing_chosen", "name reports by their ids, or say all: true")
        if asked.ids:
            return asked.ids
        return [one.id for one in self._product.stuck_reports.find(asked.filter, 0, asked.limit)]

    def _decision(self, asked: Chosen, key: ApiKey) -> Decision:
        return Decision(key.name, asked.reason, self._product.clock.now())


def dead_letter_paths(
    responses: Callable[[str, tuple[int, ...]], dict[str, Any]],
) -> dict[str, Any]:
    """Return the OpenAPI paths of these endpoints."""
    text = {"type": "string"}
    listed: list[dict[str, Any]] = [
        {"name": "state", "in": "query", "schema": {"type": "string", "enum": list(STUCK)}},
        *({"name": name, "in": "query", "schema": text} for name in ("customer", "meter", "cause")),
        {"name": "after", "in": "query", "schema": {"type": "integer", "minimum": 0}},
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": BULK_MAX},
        },
    ]
    one = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
    ]
    return {
        "/v1/outbox": {"get": _get("getOutbox", "How much waits for Stripe", [], responses)},
        "/v1/dead-letters": {
            "get": _get("listDeadLetters", "Reports that stand still", listed, responses)
        },
        "/v1/dead-letters/{id}": {"get": _get("getDeadLetter", "One of them", one, responses)},
        "/v1/dead-letters/retry": {
            "post": _post("retryDeadLetters", "Drive reports again", RetryRequest, responses)
        },
        "/v1/dead-letters/settle": {
            "post": _post("settleDeadLetters", "End reports", SettleRequest, responses)
        },
    }


def _get(
    operation: str,
    summary: str,
    parameters: list[dict[str, Any]],
    responses: Callable[[str, tuple[int, ...]], dict[str, Any]],
) -> dict[str, Any]:
    problems = (400, 401, 403, 404, 503) if parameters else (401, 403, 503)
    return {
        "operationId": operation,
        "summary": summary,
        **needs(Scope.READ),
        "parameters": parameters,
        "responses": responses("Answer", problems),
    }


def _post(
    operation: str,
    summary: str,
    body: type[Chosen],
    responses: Callable[[str, tuple[int, ...]], dict[str, Any]],
) -> dict[str, Any]:
    (_,), shapes = msgspec.json.schema_components([body])
    return {
        "operationId": operation,
        "summary": summary,
        **needs(Scope.OPERATE),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": shapes[body.__name__]}},
        },
        "responses": responses("Answer", (400, 401, 403, 413, 415, 503)),
    }


def _read(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Problem(400, "invalid_body", str(error)) from None


def _whole(text: str | None, name: str, default: int, allowed: tuple[int, int]) -> int:
    if not text:
        return default
    low, high = allowed
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise Problem(400, f"invalid_{name}", f"{name} is {text[:40]!r}; {low} to {high} can be")
    return int(text)


def _missing(report_id: int) -> Problem:
    return Problem(404, "no_report", f"there is no report {report_id}")


def _json(body: Any) -> Response:
    return Response(_encoder.encode(body), media_type="application/json")
