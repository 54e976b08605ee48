"""Whose database it is: one Stripe account's, in one mode, for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.ports.errors import WrongAccount

if TYPE_CHECKING:
    from tallystick.ports.directory import Account


def check_account(known: Account, account: Account) -> None:
    """Make sure that an account is the one that a database belongs to.

    Raises:
        WrongAccount: it is another one, or in the other mode.
    """
    if known != account:
        raise WrongAccount(
            f"this database belongs to Stripe account {known.stripe_account_id} in {_mode(known)} "
            f"mode; the key is for {account.stripe_account_id} in {_mode(account)} mode: use "
            "another database for it"
        )


def _mode(account: Account) -> str:
    return "live" if account.livemode else "test"
