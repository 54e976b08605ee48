"""API keys: who may use the API, and for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tallystick.domain.api_keys import ApiKey


class ApiKeys(Protocol):
    """The keys, each known by the digest of what a client shows."""

    def add(self, key: ApiKey, digest: bytes) -> None:
        """Keep a new key; it may be used when this returns."""
        ...

    def find(self, digest: bytes) -> ApiKey | None:
        """Return the key with this digest, whether or not it may be used."""
        ...

    def listed(self) -> list[ApiKey]:
        """Return every key that there ever was, in the order in which they were made."""
        ...

    def revoke(self, key_id: str, now: int) -> bool:
        """End a key for ever; False if there is none of that id. A second time changes nothing."""
        ...

    def used(self, key_id: str, at: int) -> Future[None]:
        """Keep when a key was used, unless it is known that it was used later.

        Raises:
            StoreBusy, and from the future StoreUnavailable: it was not kept.
        """
        ...
