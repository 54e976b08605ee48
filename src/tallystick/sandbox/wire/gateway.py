"""From a request to its answer: key, version, idempotency, parameters, operation, expansion."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
from importlib import resources as package_files
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.sandbox.delivery.events import encode_json
from tallystick.sandbox.resources.catalogue import StoredFacts, every_operation, expander
from tallystick.sandbox.wire.errors import StripeError, unsupported
from tallystick.sandbox.wire.form import decode_form
from tallystick.sandbox.wire.operations import Call, Route, Router
from tallystick.sandbox.wire.requests import Answer, Request
from tallystick.sandbox.wire.versions import Version, in_version, read_version

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.world import World


def load_openapi() -> dict[str, Any]:
    """Return Stripe's OpenAPI facts that the sandbox carries."""
    folder = package_files.files("tallystick.sandbox.facts")
    packed = (folder / "openapi_v1_subset.json.gz").read_bytes()
    subset: dict[str, Any] = msgspec.json.decode(gzip.decompress(packed))
    legacy = msgspec.json.decode((folder / "openapi_usage_records.json").read_bytes())
    subset["paths"].update(legacy["paths"])
    return subset


class Gateway:
    """Answers requests; holds no state of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._router = Router(load_openapi(), every_operation())

    def account_of(self, request: Request) -> Account:
        """Return the account of the request's key.

        Raises:
            StripeError: 401, no key or not a test key.
        """
        return self._world.account(_secret_key(request.headers.get("authorization", "")))

    def answer(self, account: Account, request: Request, request_id: str) -> Answer:
        """Return the answer, from memory when the idempotency key has been used."""
        key = request.headers.get("idempotency-key")
        if key is None or request.method == "GET":
            return self._perform(account, request, request_id)[0]
        if request.method == "DELETE" and not request.is_v2:
            return self._perform(account, request, request_id)[0]
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
        answer, is_saved = self._perform(account, request, request_id)
        if is_saved:
            keys.finish(key, answer.status, answer.body, is_v2=request.is_v2)
        else:
            keys.abandon(key, is_v2=request.is_v2)
        return answer

    def _perform(self, account: Account, request: Request, request_id: str) -> tuple[Answer, bool]:
        """Return (answer, whether an idempotency key remembers it)."""
        account.request_id = request_id
        account.request_idempotency_key = request.headers.get("idempotency-key")
        try:
            route, ids = self._route(request)
            version = read_version(request.headers.get("stripe-version"))
            body = self._body(account, request, request_id, (route, ids, version))
        except StripeError as error:
            return error_answer(error, request, request_id), error.saved and not request.is_v2
        finally:
            account.request_id = account.request_idempotency_key = None
        return Answer(200, encode_json(body)), True

    def _route(self, request: Request) -> tuple[Route, dict[str, str]]:
        found = self._router.find(request.method, request.path.strip("/").split("/"))
        if found is None:
            raise StripeError(
                f"Unrecognized request URL ({request.method}: {request.path}). Please see "
                "https://stripe.com/docs or we can help at https://support.stripe.com/.",
                status=404,
            )
        return found

    def _body(
        self,
        account: Account,
        request: Request,
        request_id: str,
        routed: tuple[Route, dict[str, str], Version],
    ) -> dict[str, Any]:
        route, ids, version = routed
        if route.handler is None or route.reader is None:
            raise unsupported(f"{route.method} {route.template}")
        params = route.reader.read(_raw_params(request), "")
        paths = params.pop("expand", None) or []
        call = Call(
            account=account,
            params=params,
            path=ids,
            version=version,
            request_id=request_id,
            url=request.path,
            idempotency_key=request.headers.get("idempotency-key"),
        )
        body = route.handler(call)
        if not route.is_v2:
            body = in_version(body, version, StoredFacts(account))
        if paths:
            expander(account, version).expand(body, paths)
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


def _secret_key(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    key = rest.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    elif scheme.lower() != "bearer":
        key = ""
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
