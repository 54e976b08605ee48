"""Idempotency keys: v1 replays what it answered, v2 runs failures again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tallystick.sandbox.wire.errors import StripeError

if TYPE_CHECKING:
    from tallystick.sandbox.settings import Settings

KEY_LENGTH_MAX = 255


@dataclass(slots=True)
class SavedAnswer:
    """What a key was used for, and its answer once there is one."""

    fingerprint: bytes
    made_at: float
    status: int | None = None
    body: bytes = b""


class IdempotencyKeys:
    """The keys of one account."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.saved: OrderedDict[str, SavedAnswer] = OrderedDict()

    def begin(self, key: str, fingerprint: bytes, now: float, *, is_v2: bool) -> SavedAnswer | None:
        """Return the saved answer to replay, or None after reserving the key for this request.

        Raises:
            StripeError: 400 for other parameters than the first time, 409 while the first request
                is still at work, 400 for a key of more than 255 characters.
        """
        if len(key) > KEY_LENGTH_MAX:
            raise StripeError(
                f"Idempotency-Key must be at most {KEY_LENGTH_MAX} characters long.",
                type_="idempotency_error",
            )
        name = f"v2/{key}" if is_v2 else key
        saved = self.saved.get(name)
        lifetime = self._settings.idempotency_v2_s if is_v2 else self._settings.idempotency_s
        if saved is not None and now - saved.made_at < lifetime:
            return self._replayed(saved, fingerprint, key)
        self.saved[name] = SavedAnswer(fingerprint, now)
        if len(self.saved) > self._settings.idempotency_keys_max:
            self.saved.popitem(last=False)
        return None

    @staticmethod
    def _replayed(saved: SavedAnswer, fingerprint: bytes, key: str) -> SavedAnswer:
        if saved.fingerprint != fingerprint:
            raise StripeError(
                "Keys for idempotent requests can only be used with the same parameters they "
                f"were first used with. Try using a key other than '{key}' if you meant to "
                "execute a different request.",
                type_="idempotency_error",
            )
        if saved.status is None:
            raise StripeError(
                "There is currently another in-progress request using this Idempotent Key "
                f"({key}). Please try again later.",
                status=409,
                type_="idempotency_error",
                code="idempotency_key_in_use",
            )
        return saved

    def finish(self, key: str, status: int, body: bytes, *, is_v2: bool) -> None:
        """Save the answer of a request that ``begin`` let through."""
        saved = self.saved.get(f"v2/{key}" if is_v2 else key)
        if saved is not None:
            saved.status, saved.body = status, body

    def abandon(self, key: str, *, is_v2: bool) -> None:
        """Forget a key whose request did no work: a retry runs again."""
        self.saved.pop(f"v2/{key}" if is_v2 else key, None)
