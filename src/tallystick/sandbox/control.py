"""The sandbox's own addresses under /_sandbox: faults, the request log, resends, reset."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.sandbox.delivery.events import encode_json
from tallystick.sandbox.delivery.webhooks import Webhooks
from tallystick.sandbox.faults import Faults, Rule
from tallystick.sandbox.wire.errors import StripeError
from tallystick.sandbox.wire.gateway import bearer, secret_key
from tallystick.sandbox.wire.requests import Answer

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.world import World
    from tallystick.sandbox.wire.requests import Request

PREFIX = "/_sandbox/"


class FaultsBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /_sandbox/faults``."""

    rules: list[Rule]
    seed: int | None = None
    replace: bool = True


class ResendBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /_sandbox/resend``."""

    event: str
    times: int = 1


class Control:
    """Answers the sandbox's own addresses.

    With a key in Authorization they mean that key's account; without one, every account.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.everywhere = Faults(world.settings.seed)
        self._by_key: dict[str, Faults] = {}
        self.log: deque[dict[str, Any]] = deque(maxlen=world.settings.requests_kept_max)

    def faults_of(self, key: str) -> Faults:
        """Return the rules of one account."""
        faults = self._by_key.get(key)
        if faults is None:
            faults = self._by_key[key] = Faults(self._world.settings.seed)
        return faults

    def record(self, key: str, request: Request, request_id: str, outcome: dict[str, Any]) -> None:
        """Remember a request and what became of it."""
        self.log.append(
            {
                "id": request_id,
                "account": key,
                "method": request.method,
                "path": request.path,
                "idempotency_key": request.headers.get("idempotency-key"),
                "stripe_version": request.headers.get("stripe-version"),
                **outcome,
            }
        )

    def answer(self, request: Request) -> Answer:
        """Answer a request to /_sandbox."""
        try:
            body = self._body(request)
        except StripeError as error:
            found = error.envelope(is_v2=False, request_id="")
            return Answer(error.status, encode_json(found))
        except msgspec.MsgspecError as error:
            found = StripeError(str(error)).envelope(is_v2=False, request_id="")
            return Answer(400, encode_json(found))
        return Answer(200, encode_json(body))

    def _body(self, request: Request) -> Any:
        authorization = request.headers.get("authorization", "")
        key = secret_key(authorization) if bearer(authorization) else None
        name = request.path.removeprefix(PREFIX)
        match request.method, name:
            case "GET", "faults":
                return self._shown(key)
            case "POST", "faults":
                return self._set_faults(key, request.body)
            case "DELETE", "faults":
                self._rules(key).rules = []
                return self._shown(key)
            case "GET", "requests":
                rows = [row for row in self.log if key is None or row["account"] == key]
                return {"object": "list", "data": rows}
            case "POST", "reset":
                return self._reset(key)
            case "POST", "resend":
                return self._resend(key, request.body)
        raise StripeError(
            f"Unrecognized sandbox address ({request.method}: {request.path}).", status=404
        )

    def _rules(self, key: str | None) -> Faults:
        return self.everywhere if key is None else self.faults_of(key)

    def _shown(self, key: str | None) -> dict[str, Any]:
        faults = self._rules(key)
        return {"seed": faults.seed, "rules": faults.rules}

    def _set_faults(self, key: str | None, body: bytes) -> dict[str, Any]:
        given = msgspec.json.decode(body, type=FaultsBody)
        faults = self._rules(key)
        if given.seed is not None:
            faults.seed = given.seed
        faults.rules = given.rules if given.replace else [*faults.rules, *given.rules]
        return self._shown(key)

    def _reset(self, key: str | None) -> dict[str, Any]:
        """Forget the account (or all), its faults and its part of the log."""
        self._world.reset(key)
        if key is None:
            self._by_key.clear()
            self.everywhere.rules = []
            self.log.clear()
        else:
            self._by_key.pop(key, None)
            kept = [row for row in self.log if row["account"] != key]
            self.log.clear()
            self.log.extend(kept)
        return {"reset": True}

    def _resend(self, key: str | None, body: bytes) -> dict[str, Any]:
        """Send an event again to every endpoint that wants it."""
        given = msgspec.json.decode(body, type=ResendBody)
        account = self._world.accounts.get(key or "")
        event = account.events.get(given.event) if account else None
        if account is None or event is None:
            raise StripeError(f"No such event: '{given.event}'", status=404)
        for _ in range(max(0, min(given.times, 100))):
            account.outlets.publish(event)
        return {"event": event.id, "times": given.times}

    def attach(self, account: Account) -> Webhooks:
        """Give an account its webhooks, which the faults of the account and of all strike."""
        webhooks = Webhooks(account, [self.everywhere, self.faults_of(account.key)])
        account.outlets = webhooks
        return webhooks
