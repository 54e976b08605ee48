"""Stripe's errors: type, code, param, message, and the envelopes of v1 and v2."""

from __future__ import annotations

from typing import Any


class StripeError(Exception):
    """An answer other than success.

    ``saved`` says whether an idempotency key remembers it: Stripe saves what happened after work
    began, not refused parameters or conflicts (DOC:api/idempotent_requests).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type_: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        saved: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type_
        self.code = code
        self.param = param
        self.extra = extra or {}
        self.headers = headers or {}
        self.saved = saved

    def envelope(self, *, is_v2: bool, request_id: str) -> dict[str, Any]:
        """Return the JSON body."""
        error: dict[str, Any] = {"message": self.message, "type": self.type}
        if self.code is not None:
            error["code"] = self.code
        if is_v2:
            error.setdefault("code", "invalid_request")
            return {"error": error | self.extra}
        if self.code is not None:
            slug = self.code.replace("_", "-")
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{slug}"
        if self.param is not None:
            error["param"] = self.param
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": error | self.extra}


def missing(
    noun: str, id_: str, param: str = "id", *, status: int = 404, article: str = "No such"
) -> StripeError:
    """Return ``No such customer: 'cus_1'``: 404 for an id in the path, 400 for a parameter.

    Evidence: recorded (both statuses).
    """
    return StripeError(
        f"{article} {noun}: '{id_}'", status=status, code="resource_missing", param=param
    )


def refused(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    """Return a 400 ``invalid_request_error``."""
    return StripeError(message, param=param, code=code)


def unsupported(what: str, param: str | None = None) -> StripeError:
    """Return the sandbox's own refusal: Stripe knows this, the sandbox does not act on it."""
    return StripeError(
        f"{what} is not supported by the sandbox.", code="not_supported_by_sandbox", param=param
    )


def card_declined(decline_code: str, message: str, **extra: Any) -> StripeError:
    """Return a 402 ``card_error`` (recorded: param is the empty string)."""
    return StripeError(
        message,
        status=402,
        type_="card_error",
        code="card_declined",
        param="",
        extra={"decline_code": decline_code, **extra},
        saved=True,
    )
