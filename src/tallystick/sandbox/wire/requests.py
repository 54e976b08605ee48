"""One HTTP request, and one answer, as the sandbox sees them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Request:
    """A request with its whole body."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_v2(self) -> bool:
        """Say whether it goes to the v2 API."""
        return self.path.startswith("/v2/")


@dataclass(slots=True)
class Answer:
    """An answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
