"""Where Stripe posts events to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Endpoint(NamedTuple):
    """An endpoint at Stripe; ``*`` among the types stands for every one."""

    endpoint_id: str
    url: str
    types: tuple[str, ...]
    is_thin: bool
    is_enabled: bool


class WebhookEndpoints(Protocol):
    """The account's endpoints. Every method raises StripeUnreachable or StripeRefused."""

    def endpoints(self) -> list[Endpoint]:
        """Return every endpoint that posts to an address."""
        ...

    def create(self, url: str, types: Sequence[str], *, is_thin: bool) -> tuple[str, str]:
        """Make an endpoint; return its id and its signing secret, which Stripe shows this once."""
        ...

    def extend(self, endpoint: Endpoint, types: Sequence[str]) -> None:
        """Let an endpoint send more types of events."""
        ...
