"""API keys made, shown and revoked, in one way for the command line and HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.api_keys import (
    DEFAULT_BOUND_SCOPES,
    DEFAULT_SCOPES,
    ApiKey,
    KeyStanding,
    Scope,
    digest_of,
    new_key,
    new_key_id,
)
from tallystick.domain.events import NAME_CHARS_MAX
from tallystick.domain.instants import format_instant

if TYPE_CHECKING:
    from collections.abc import Collection

    from tallystick.ports.api_keys import ApiKeys
    from tallystick.ports.clock import Clock


class KeyRefused(ValueError):
    """Something about a key that cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class KeyRing:
    """The keys of an installation."""

    def __init__(self, keys: ApiKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def create(
        self,
        name: str,
        scopes: Collection[Scope] = (),
        *,
        source: str | None = None,
        expires_at: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; return it and what a client shows, which is not kept.

        Without scopes it gets those of ``DEFAULT_SCOPES``, or ``DEFAULT_BOUND_SCOPES`` if it is
        bound to a source.

        Raises:
            KeyRefused: no name, a name or source that cannot be, an end that has passed.
        """
        now = self._clock.now()
        if not name.strip():
            raise KeyRefused("name_missing", "a key needs a name that says what it is for")
        _check_name("name", name)
        if source is not None:
            _check_name("source", source)
        if expires_at is not None and expires_at <= now:
            raise KeyRefused(
                "expiry_passed", f"the key would have expired at {format_instant(expires_at)}"
            )
        usual = DEFAULT_SCOPES if source is None else DEFAULT_BOUND_SCOPES
        key = ApiKey(
            new_key_id(), name, frozenset(scopes) or usual, now, source, expires_at=expires_at
        )
        shown = new_key()
        self._keys.add(key, digest_of(shown))
        return key, shown

    def listed(self) -> list[dict[str, Any]]:
        """Return every key as people and programs see it, oldest first."""
        now = self._clock.now()
        return [key_view(key, now) for key in self._keys.listed()]

    def revoke(self, named: str) -> dict[str, Any]:
        """End a key for ever; return it as it is then. A second time changes nothing.

        ``named`` is its id, or its name if only one key of that name may still be used.

        Raises:
            KeyRefused: ``key_not_found``, ``key_ambiguous``.
        """
        now = self._clock.now()
        key_id = self._found(named, now)
        self._keys.revoke(key_id, now)
        (key,) = (key for key in self._keys.listed() if key.id == key_id)
        return key_view(key, now)

    def _found(self, named: str, now: int) -> str:
        keys = self._keys.listed()
        if any(key.id == named for key in keys):
            return named
        of_name = [key for key in keys if key.name == named]
        usable = [key for key in of_name if key.standing(now) is KeyStanding.ACTIVE]
        chosen = usable or of_name
        if not chosen:
            raise KeyRefused("key_not_found", f"there is no key with the id or name {named!r}")
        if len(chosen) > 1:
            ids = ", ".join(key.id for key in chosen)
            raise KeyRefused(
                "key_ambiguous", f"several keys are called {named!r}: name one by its id: {ids}"
            )
        return chosen[0].id


def key_view(key: ApiKey, now: int) -> dict[str, Any]:
    """Return a key as people and programs see it."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope.value for scope in Scope if scope in key.scopes],
        "source": key.source,
        "status": key.standing(now).value,
        "created_at": format_instant(key.created_at),
        "expires_at": _instant(key.expires_at),
        "revoked_at": _instant(key.revoked_at),
        "last_used_at": _instant(key.last_used_at),
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)


def _check_name(field: str, text: str) -> None:
    if not text or len(text) > NAME_CHARS_MAX or not text.isprintable():
        raise KeyRefused(
            f"{field}_invalid",
            f"a key's {field} has 1 to {NAME_CHARS_MAX} characters, none of them a control "
            "character",
        )
