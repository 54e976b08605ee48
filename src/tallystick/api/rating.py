"""Rating over HTTP: one quantity at one price, and past usage under another catalog."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import msgspec
from starlette.responses import Response

from tallystick.api.authentication import Authorize
from tallystick.api.bodies import read_body
from tallystick.api.problems import Problem
from tallystick.billing.catalog_file import FILE_BYTES_MAX, read_catalog_texts
from tallystick.billing.what_if import WhatIf
from tallystick.billing.what_if_answer import answer_what_if
from tallystick.domain.api_keys import Scope
from tallystick.domain.catalog.objects import CatalogError
from tallystick.domain.instants import parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.quantity import QuantityError, parse_total
from tallystick.domain.rating.answer import answer_charge
from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.prices import PriceError, price_from_stripe

if TYPE_CHECKING:
    from starlette.requests import Request

    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.event_store import UsageReader

RATE_BYTES_MAX = 1_000_000
"""Far more than a price of a thousand tiers."""


class RatedProduct(Protocol):
    """What these endpoints need of the product."""

    usage: UsageReader
    catalog: CatalogStore
    customers: CustomerDirectory
    clock: Clock


class RatingEndpoints:
    """``POST /v1/rate`` and ``POST /v1/whatif``; ``authorize`` refuses whoever may not."""

    def __init__(self, product: RatedProduct, authorize: Authorize) -> None:
        self._product = product
        self._authorize = authorize

    async def post_rate(self, request: Request) -> Response:
        """Answer what `tallystick rate --json` prints.

        Raises:
            Problem: 400, with the error of the command in the member ``error``.
        """
        self._authorize(request, Scope.READ)
        asked = _parsed(await read_body(request, RATE_BYTES_MAX))
        try:
            price = price_from_stripe(asked["price"])
            quantity = parse_total(str(asked["usage"]))
            charge = rate(price, quantity)
        except PriceError as error:
            raise _refused(error.code, error.message, error.param) from None
        except QuantityError as error:
            raise _refused(error.code, str(error), "usage") from None
        return _json(answer_charge(charge))

    async def post_what_if(self, request: Request) -> Response:
        """Answer what `tallystick whatif --json` prints, for the catalog in the body.

        Raises:
            Problem: 400, with every problem of the catalog in the member ``problems``.
        """
        self._authorize(request, Scope.READ)
        body = await read_body(request, FILE_BYTES_MAX)
        within = self._period(request.query_params.get("from"), request.query_params.get("to"))
        answer = await anyio.to_thread.run_sync(self._what_if, body, within)
        return _json(answer)

    def _what_if(self, body: bytes, within: Period) -> dict[str, Any]:
        product = self._product
        try:
            declared = read_catalog_texts([("catalog", body.decode("utf-8-sig"))])
            asked = WhatIf(product.usage, product.catalog, product.customers, declared)
        except UnicodeDecodeError:
            raise Problem(400, "bad_catalog", "the body is not UTF-8 text") from None
        except CatalogError as error:
            problems = [
                {
                    "line": problem.position.line if problem.position else None,
                    "field": problem.field,
                    "message": problem.message,
                }
                for problem in error.problems
            ]
            raise Problem(400, "bad_catalog", str(error), members={"problems": problems}) from None
        return answer_what_if(asked.rerate(within), within)

    def _period(self, from_text: str | None, to_text: str | None) -> Period:
        try:
            start_at = parse_instant(from_text) if from_text else 0
            return Period(
                start_at, parse_instant(to_text) if to_text else self._product.clock.now()
            )
        except (ValueError, OverflowError) as error:
            raise Problem(400, "invalid_period", str(error)) from None


def _parsed(body: bytes) -> dict[str, Any]:
    """Read the body with every number as it is written: JSON's numbers are no floats here."""
    try:
        asked = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise Problem(400, "invalid_json", "the body is not JSON") from None
    if not isinstance(asked, dict) or not {"price", "usage"} <= asked.keys():
        raise Problem(400, "invalid_body", 'the body is {"price": {...}, "usage": "1001"}')
    return asked


def _refused(code: str, message: str, param: str | None) -> Problem:
    error = {"code": code, "message": message, "param": param}
    return Problem(400, code, message, members={"error": error})


def _json(body: Any) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
