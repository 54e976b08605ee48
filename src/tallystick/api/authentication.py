"""Who sends a request: the key it shows, remembered for a second so that none costs a read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallystick.api.problems import Problem
from tallystick.domain.api_keys import digest_of

if TYPE_CHECKING:
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import Installation

REMEMBERED_SECONDS = 1
"""How long a key that was revoked may still be used, at most."""

REMEMBERED_MAX = 1_024
"""Keys remembered; wrong ones count too, so that they are not worth sending."""


class _Remembered(NamedTuple):
    is_known: bool
    until: float


class KeyCheck:
    """Checks the keys of requests."""

    def __init__(self, installation: Installation, clock: Clock) -> None:
        self._installation = installation
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}

    def check(self, authorization: str) -> None:
        """Let a request with this ``Authorization`` header pass.

        Raises:
            Problem: 401.
        """
        found = self._remembered.get(authorization)
        now = self._clock.elapsed()
        if found is None or found.until <= now:
            found = _Remembered(self._is_known(authorization), now + REMEMBERED_SECONDS)
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[authorization] = found
        if not found.is_known:
            raise Problem(
                401,
                "unauthorized",
                "send Authorization: Bearer KEY with a key from `tallystick keys create`",
                {"WWW-Authenticate": "Bearer"},
            )

    def _is_known(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._installation.has_key(digest_of(key.strip()))
