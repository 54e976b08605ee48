"""What every installation promises, whichever backend it is."""

from __future__ import annotations

import pytest

from tallystick.ports.directory import Account
from tallystick.ports.errors import WrongAccount
from tallystick.wiring import Tallystick
from tests.contract.racing import race

OURS = Account("acct_1", livemode=False)


def test_an_account_is_adopted_once_and_for_all(store: Tallystick, other: Tallystick) -> None:
    assert store.installation.account() is None
    store.installation.adopt(OURS)
    store.installation.adopt(OURS)
    assert other.installation.account() == OURS
    for wrong in (Account("acct_2", livemode=False), Account("acct_1", livemode=True)):
        with pytest.raises(WrongAccount, match="acct_1"):
            other.installation.adopt(wrong)
    assert store.installation.account() == OURS


def test_of_racing_accounts_one_is_adopted(store: Tallystick, other: Tallystick) -> None:
    def adopt(owner: Tallystick, account_id: str) -> str | None:
        try:
            owner.installation.adopt(Account(account_id, livemode=False))
        except WrongAccount:
            return None
        return account_id

    adopted = race([lambda: adopt(store, "acct_1"), lambda: adopt(other, "acct_2")])
    found = store.installation.account()
    assert found is not None
    assert [one for one in adopted if one] == [found.stripe_account_id]


def test_every_product_on_the_data_has_the_same_schema(
    store: Tallystick, other: Tallystick
) -> None:
    assert store.installation.schema_version() == other.installation.schema_version() > 0
