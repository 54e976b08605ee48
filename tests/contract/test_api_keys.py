"""What every store of API keys promises, whichever backend it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tallystick.domain.api_keys import ApiKey, Scope, digest_of
from tests.contract.backends import NOW, Backend
from tests.contract.racing import race

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

PLAIN = ApiKey("key_b", "production", frozenset({Scope.READ, Scope.INGEST}), NOW)
FULL = ApiKey(
    "key_a",
    "edge ü",
    frozenset(Scope),
    NOW,
    source="eu 'west'",
    expires_at=NOW + 1,
)


def test_a_key_is_found_by_its_digest_alone(store: Tallystick, other: Tallystick) -> None:
    store.api_keys.add(PLAIN, digest_of("one"))
    store.api_keys.add(FULL, digest_of("two"))
    assert other.api_keys.find(digest_of("one")) == PLAIN
    assert other.api_keys.find(digest_of("two")) == FULL
    assert other.api_keys.find(digest_of("three")) is None


def test_keys_are_listed_in_the_order_in_which_they_were_made(store: Tallystick) -> None:
    assert store.api_keys.listed() == []
    earlier = replace(PLAIN, id="key_c", created_at=NOW - 1)
    for number, key in enumerate((PLAIN, FULL, earlier)):
        store.api_keys.add(key, digest_of(str(number)))
    assert store.api_keys.listed() == [earlier, PLAIN, FULL]


def test_a_key_without_scopes_keeps_none(store: Tallystick) -> None:
    key = replace(PLAIN, scopes=frozenset())
    store.api_keys.add(key, digest_of("one"))
    assert store.api_keys.find(digest_of("one")) == key


def test_a_key_is_revoked_once_and_since_then(backend: Backend, other: Tallystick) -> None:
    keys = backend.product.api_keys
    keys.add(PLAIN, digest_of("one"))
    keys.add(FULL, digest_of("two"))
    assert keys.revoke("key_b", NOW + 5)
    assert other.api_keys.revoke("key_b", NOW + 9)
    assert not keys.revoke("key_x", NOW)
    backend.crash()
    keys = backend.product.api_keys
    assert keys.find(digest_of("one")) == replace(PLAIN, revoked_at=NOW + 5)
    assert keys.find(digest_of("two")) == FULL


def test_the_last_use_is_the_latest_that_was_told(store: Tallystick, other: Tallystick) -> None:
    store.api_keys.add(PLAIN, digest_of("one"))
    store.api_keys.add(FULL, digest_of("two"))
    for at in (NOW + 7, NOW + 3):
        store.api_keys.used("key_b", at).result()
    store.api_keys.used("key_x", NOW).result()
    assert other.api_keys.find(digest_of("one")) == replace(PLAIN, last_used_at=NOW + 7)
    assert other.api_keys.find(digest_of("two")) == FULL


def test_of_racing_uses_the_latest_stays(store: Tallystick, other: Tallystick) -> None:
    store.api_keys.add(PLAIN, digest_of("one"))

    def use(product: Tallystick, parity: int) -> None:
        for step in range(parity, 40, 2):
            product.api_keys.used("key_b", NOW + step).result()

    race([lambda: use(store, 0), lambda: use(other, 1)])
    assert store.api_keys.listed() == [replace(PLAIN, last_used_at=NOW + 39)]
