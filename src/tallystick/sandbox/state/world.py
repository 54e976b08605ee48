"""All accounts of one sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.sandbox.state.account import Account
from tallystick.sandbox.state.ids import IdSource
from tallystick.sandbox.wire.errors import StripeError
from tallystick.sandbox.wire.idempotency import IdempotencyKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallystick.sandbox.settings import Settings
    from tallystick.sandbox.wallclock import Clock


class World:
    """Accounts by key; a new key makes a new account."""

    def __init__(
        self, settings: Settings, clock: Clock, on_account: Callable[[Account], None]
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._on_account = on_account
        self.accounts: dict[str, Account] = {}
        self._keys: dict[str, IdempotencyKeys] = {}
        self.request_ids = IdSource(f"{settings.seed}/requests")

    def account(self, key: str) -> Account:
        """Return the account of a secret key."""
        account = self.accounts.get(key)
        if account is None:
            account = Account(key, self.settings, self.clock)
            self.accounts[key] = account
            self._on_account(account)
        return account

    def account_of_session(self, token: str) -> Account:
        """Return the account that opened a meter event session.

        Raises:
            StripeError: 401, unknown or expired (SDK16: ``temporary_session_expired``).
        """
        for account in self.accounts.values():
            expires_at = account.sessions.get(token)
            if expires_at is None:
                continue
            if expires_at > self.clock.now():
                return account
            raise StripeError(
                "The meter event session has expired. Create a new one.",
                status=401,
                type_="temporary_session_expired",
                code="billing_meter_event_session_expired",
            )
        raise StripeError(
            "Invalid authentication token: the meter event stream takes the token of a session.",
            status=401,
            code="invalid_authentication_token",
        )

    def idempotency(self, account: Account) -> IdempotencyKeys:
        """Return the idempotency keys of an account."""
        keys = self._keys.get(account.key)
        if keys is None:
            keys = self._keys[account.key] = IdempotencyKeys(self.settings)
        return keys

    def reset(self, key: str | None = None) -> None:
        """Forget an account, or all of them."""
        for name in [key] if key is not None else list(self.accounts):
            self.accounts.pop(name, None)
            self._keys.pop(name, None)
