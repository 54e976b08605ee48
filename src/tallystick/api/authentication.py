"""Who sends a request and what it may do: the key that it shows, remembered for a second so that
none costs a read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import Request

from tallystick.api.problems import Problem
from tallystick.domain.api_keys import ApiKey, KeyStanding, Scope, digest_of
from tallystick.domain.instants import MINUTE_US, format_instant
from tallystick.ports.errors import StoreBusy

if TYPE_CHECKING:
    from tallystick.ports.api_keys import ApiKeys
    from tallystick.ports.clock import Clock

REMEMBERED_SECONDS = 1
"""How long a key that was revoked, or ran out, may still be used, at most."""

REMEMBERED_MAX = 1_024
"""Keys remembered; wrong ones count too, so that they are not worth sending."""

USE_KEPT_US = MINUTE_US
"""How far behind a key's last use may be: it is written no more often than that."""

Authorize = Callable[[Request, Scope], ApiKey]
"""Lets a request pass whose key has the scope, and returns the key; else raises a ``Problem``."""


class _Remembered(NamedTuple):
    key: ApiKey | None
    standing: KeyStanding
    until: float


class KeyCheck:
    """Checks the keys of requests."""

    def __init__(self, keys: ApiKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}

    def authorize(self, request: Request, scope: Scope) -> ApiKey:
        """Do what ``check`` does with the request's ``Authorization`` header.

        Raises:
            Problem: 401, 403.
        """
        return self.check(request.headers.get("authorization", ""), scope)

    def check(self, authorization: str, scope: Scope) -> ApiKey:
        """Let a request with this ``Authorization`` header pass that needs the scope.

        Raises:
            Problem: 401 without a key that may be used, 403 if it lacks the scope.
        """
        found = self._remembered.get(authorization)
        if found is None or found.until <= self._clock.elapsed():
            found = self._looked_up(authorization)
        key = found.key
        if key is None:
            raise _unauthorized(
                "unauthorized",
                "send Authorization: Bearer KEY with a key from `tallystick keys create`",
            )
        if found.standing is not KeyStanding.ACTIVE:
            raise _no_more(key, found.standing)
        if scope not in key.scopes:
            raise _out_of_scope(key, scope)
        return key

    def _looked_up(self, authorization: str) -> _Remembered:
        scheme, _, shown = authorization.partition(" ")
        now = self._clock.now()
        key = None
        if scheme.lower() == "bearer":
            key = self._keys.find(digest_of(shown.strip()))
        standing = key.standing(now) if key else KeyStanding.ACTIVE
        if key and standing is KeyStanding.ACTIVE:
            self._keep_use(key, now)
        found = _Remembered(key, standing, self._clock.elapsed() + REMEMBERED_SECONDS)
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[authorization] = found
        return found

    def _keep_use(self, key: ApiKey, now: int) -> None:
        """Have the use written with the store's next commit, if the last one was long ago.

        Nobody waits for it, and where it fails nothing is lost but a figure for people.
        """
        if key.last_used_at is None or now - key.last_used_at >= USE_KEPT_US:
            with suppress(StoreBusy):
                self._keys.used(key.id, now)


def needs(scope: Scope) -> dict[str, Any]:
    """Return how OpenAPI says that an operation needs a key with the scope."""
    return {"security": [{"key": [scope.value]}]}


def _unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, {"WWW-Authenticate": "Bearer"})


def _no_more(key: ApiKey, standing: KeyStanding) -> Problem:
    if standing is KeyStanding.REVOKED:
        assert key.revoked_at is not None  # that is what revoked means
        return _unauthorized(
            "key_revoked", f"the key {key.id} was revoked at {format_instant(key.revoked_at)}"
        )
    assert key.expires_at is not None  # that is what expired means
    return _unauthorized(
        "key_expired", f"the key {key.id} expired at {format_instant(key.expires_at)}"
    )


def _out_of_scope(key: ApiKey, scope: Scope) -> Problem:
    has = ", ".join(one for one in Scope if one in key.scopes) or "none"
    return Problem(
        403,
        "scope_missing",
        f"this needs the scope {scope}, and the key {key.id} has {has}",
        {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        members={"scope": scope},
    )
