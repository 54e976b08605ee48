"""Errors of whole requests, as RFC 9457 problems."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from tallystick.ports.errors import (
    AlreadyLinked,
    PortError,
    StoreBusy,
    StoreUnavailable,
    StripeUnreachable,
)

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_SECONDS = 1
"""What a client is told to wait after a 429 or 503: the writer's queue empties within that."""


class Problem(Exception):
    """A request that fails as a whole. ``code`` is stable; ``detail`` is for the person who reads
    it. ``members`` are more of the problem, for programs (RFC 9457, extension members).
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: dict[str, str] | None = None,
        *,
        members: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.members = members or {}

    @classmethod
    def unforeseen(cls) -> Problem:
        """Return what is answered for a bug of ours."""
        detail = "something failed that should not; the server's log says what"
        return cls(500, "internal_error", detail)

    def response(self) -> Response:
        """Return the answer, in ASCII: a detail may quote half a character, which UTF-8 lacks."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.members,
        }
        return Response(json.dumps(body), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: PortError) -> Problem:
    """Return what a client is told of a failure behind a port."""
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if isinstance(error, StoreBusy):
        return Problem(429, error.code, str(error), retry)
    if isinstance(error, StoreUnavailable | StripeUnreachable):
        return Problem(503, error.code, str(error), retry)
    if isinstance(error, AlreadyLinked):
        return Problem(409, error.code, str(error))
    return Problem(503, error.code, str(error))
