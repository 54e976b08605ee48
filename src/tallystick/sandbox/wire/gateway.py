"""From a request to its answer: key, version, idempotency, parameters, operation, expansion."""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import hashlib
import logging
from dataclasses import dataclass
from importlib import resources as package_files
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.sandbox.delivery.events import encode_json
from tallystick.sandbox.faults import concurrent_meter_event
from tallystick.sandbox.resources.catalogue import every_operation, expander
from tallystick.sandbox.resources.metering_v2 import STREAM_PATH
from tallystick.sandbox.resources.older_facts import StoredFacts
from tallystick.sandbox.wire.errors import StripeError, unsupported
from tallystick.sandbox.wire.form import decode_form
from tallystick.sandbox.wire.operations import Call, Route, Router
from tallystick.sandbox.wire.requests import Answer, Request
from tallystick.sandbox.wire.versions import in_version, read_version

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.world import World
    from tallystick.sandbox.wire.operations import Handler


def load_openapi() -> dict[str, Any]:
    """Return Stripe's OpenAPI facts that the sandbox carries."""
    folder = package_files.files("tallystick.sandbox.facts")
    packed = (folder / "openapi_v1_subset.json.gz").read_bytes()
    subset: dict[str, Any] = msgspec.json.decode(gzip.decompress(packed))
    legacy = msgspec.json.decode((folder / "openapi_usage_records.json").read_bytes())
    subset["paths"].update(legacy["paths"])
    return subset


_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Prepared:
    """A request that was read and checked, before its work is done."""

    route: Route
    call: Call
    handler: Handler
    expand: list[str]


_EVENT_PATHS = frozenset({"/v1/billing/meter_events", "/v2/billing/meter_events"})


class Gateway:
    """Answers requests; all that it holds is which meter events are at work right now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._router = Router(load_openapi(), every_operation())
        self._busy: set[tuple[str, str, str]] = set()

    def account_of(self, request: Request) -> Account:
        """Return the account of the request's key, or of its session on the stream.

        Raises:
            StripeError: 401, no key, not a test key, or a session that has expired.
        """
        authorization = request.headers.get("authorization", "")
        if request.path == STREAM_PATH:
            return self._world.account_of_session(bearer(authorization))
        return self._world.account(secret_key(authorization))

    async def answer(
        self, account: Account, request: Request, request_id: str, delay_s: float = 0.0
    ) -> Answer:
        """Return the answer, from memory when the idempotency key has been used.

        ``delay_s`` is how long the work takes, for a fault that makes it slow.
        """
        key = request.headers.get("idempotency-key")
        is_keyed = request.method == "POST" or (request.method == "DELETE" and request.is_v2)
        if key is None or not is_keyed:
            return (await self._perform(account, request, request_id, delay_s))[0]
        keys = self._world.idempotency(account)
        fingerprint = hashlib.blake2b(
            f"{request.method} {request.path}\n".encode() + request.body, digest_size=16
        ).digest()
        try:
            saved = keys.begin(key, fingerprint, account.real_now(), is_v2=request.is_v2)
        except StripeError as error:
            return error_answer(error, request, request_id)
        if saved is not None and saved.status is not None:
            return Answer(saved.status, saved.body, {"idempotent-replayed": "true"})
        is_saved = False
        try:
            answer, is_saved = await self._perform(account, request, request_id, delay_s)
        finally:
            if not is_saved:
                keys.abandon(key, is_v2=request.is_v2)
        if is_saved:
            keys.finish(key, answer.status, answer.body, is_v2=request.is_v2)
        return answer

    def save_failure(self, account: Account, request: Request, answer: Answer) -> None:
        """Remember an injected 500 under the request's key: v1 replays it."""
        key = request.headers.get("idempotency-key")
        if key is None or request.method != "POST" or request.is_v2:
            return
        keys = self._world.idempotency(account)
        fingerprint = hashlib.blake2b(
            f"{request.method} {request.path}\n".encode() + request.body, digest_size=16
        ).digest()
        try:
            if keys.begin(key, fingerprint, account.real_now(), is_v2=False) is None:
                keys.finish(key, answer.status, answer.body, is_v2=False)
        except StripeError:
            return

    async def _perform(
        self, account: Account, request: Request, request_id: str, delay_s: float
    ) -> tuple[Answer, bool]:
        """Return (answer, whether an idempotency key remembers it)."""
        held: tuple[str, str, str] | None = None
        try:
            prepared = self._prepare(account, request, request_id)
            if prepared.route.template in _EVENT_PATHS:
                held = self._hold(account, prepared.call)
                await asyncio.sleep(delay_s)
            elif delay_s:
                await asyncio.sleep(delay_s)
            account.request_id = request_id
            account.request_idempotency_key = prepared.call.idempotency_key
            body = _work(prepared)
        except StripeError as error:
            return error_answer(error, request, request_id), error.saved and not request.is_v2
        except Exception:  # a bug here is Stripe's 500 to the client, and a traceback in our log
            _LOG.exception("%s %s failed", request.method, request.path)
            bug = StripeError("An unknown error occurred.", status=500, type_="api_error")
            return error_answer(bug, request, request_id), False
        finally:
            account.request_id = account.request_idempotency_key = None
            if held is not None:
                self._busy.discard(held)
        return Answer(200, encode_json(body)), True

    def _hold(self, account: Account, call: Call) -> tuple[str, str, str]:
        """Reserve a customer and meter: one call at a time (DOC:rate-limits).

        Raises:
            StripeError: 409, another call is at work.
        """
        payload = call.params["payload"]
        meter = account.meters.get(account.meter_by_event_name.get(call.params["event_name"], ""))
        customer = payload.get(meter.customer_key if meter else "stripe_customer_id", "")
        held = (account.key, call.params["event_name"], customer)
        if held in self._busy:
            raise concurrent_meter_event()
        self._busy.add(held)
        return held

    def _prepare(self, account: Account, request: Request, request_id: str) -> _Prepared:
        found = self._router.find(request.method, request.path.strip("/").split("/"))
        if found is None:
            raise StripeError(
                f"Unrecognized request URL ({request.method}: {request.path}). Please see "
                "https://stripe.com/docs or we can help at https://support.stripe.com/.",
                status=404,
            )
        route, ids = found
        version = read_version(request.headers.get("stripe-version"))
        if route.handler is None or route.reader is None:
            raise unsupported(f"{route.method} {route.template}")
        params = route.reader.read(_raw_params(request), "")
        expand = params.pop("expand", None) or []
        call = Call(
            account=account,
            params=params,
            path=ids,
            version=version,
            request_id=request_id,
            url=request.path,
            idempotency_key=request.headers.get("idempotency-key"),
        )
        return _Prepared(route, call, route.handler, expand)


def _work(prepared: _Prepared) -> dict[str, Any]:
    """Do the work of a request and return its body in the version asked for."""
    call = prepared.call
    body = prepared.handler(call)
    if not prepared.route.is_v2:
        body = in_version(body, call.version, StoredFacts(call.account))
    if prepared.expand:
        expander(call.account, call.version).expand(body, prepared.expand)
    return body


def error_answer(error: StripeError, request: Request, request_id: str) -> Answer:
    """Return an error in the envelope of the request's API."""
    body = encode_json(error.envelope(is_v2=request.is_v2, request_id=request_id))
    return Answer(error.status, body, error.headers)


def _raw_params(request: Request) -> dict[str, Any]:
    if request.method in ("GET", "DELETE"):
        tree = decode_form(request.query)
        if request.method == "DELETE" and request.body:
            tree |= decode_form(_text(request.body))
        return tree
    if request.is_v2:
        return _json(request.body)
    tree = decode_form(request.query) if request.query else {}
    return tree | decode_form(_text(request.body))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise StripeError("Invalid request: the body is not UTF-8.") from None


def _json(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise StripeError("Invalid request: the body is not JSON.", code="invalid_json") from None
    if not isinstance(tree, dict):
        raise StripeError("Invalid request: the body is not an object.", code="invalid_json")
    return tree


def bearer(authorization: str) -> str:
    """Return the key of an Authorization header, Bearer or Basic; empty when there is none."""
    scheme, _, rest = authorization.partition(" ")
    key = rest.strip()
    if scheme.lower() == "bearer":
        return key
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(key, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def secret_key(authorization: str) -> str:
    """Return the test key of an Authorization header.

    Raises:
        StripeError: 401, none, or one that is no test key.
    """
    key = bearer(authorization)
    if not key:
        raise StripeError(
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
            "YOUR_SECRET_KEY').",
            status=401,
        )
    if not key.startswith("sk_test_") or len(key) <= len("sk_test_"):
        shown = key[:7] + "*" * 8 + key[-4:] if len(key) > 12 else "****"
        raise StripeError(f"Invalid API Key provided: {shown}", status=401)
    return key
