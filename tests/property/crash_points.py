"""Named points at which the product may die, once each time that one is armed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallystick.wiring import Tallystick

CRASH_POINTS = (
    "before_record",
    "after_record",
    "after_claim",
    "after_send",
    "before_settle",
    "after_settle",
    "before_verify",
    "after_verify",
    "before_reject",
    "after_reject",
)


class Crash(BaseException):
    """The process dies here: nothing that comes after it happens."""


class CrashPoints:
    """Lets the product die at a named point, once."""

    def __init__(self) -> None:
        self.armed: str | None = None

    def reach(self, point: str) -> None:
        if self.armed == point:
            self.armed = None
            raise Crash(point)

    def install(self, product: Tallystick) -> None:
        self._around(product.book, "record", "before_record", "after_record")
        self._around(product.outbox, "claim", None, "after_claim")
        self._around(product.outbox, "settle", "before_settle", "after_settle")
        self._around(product.confirmations, "verify", "before_verify", "after_verify")
        self._around(product.confirmations, "reject", "before_reject", "after_reject")
        for sink in product.stripe.usage.values():
            self._around(sink, "send", None, "after_send")

    def _around(self, owner: Any, name: str, before: str | None, after: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def crashing(*arguments: Any, **named: Any) -> Any:
            if before:
                self.reach(before)
            result = inner(*arguments, **named)
            if name != "claim" or result:
                self.reach(after)
            return result

        setattr(owner, name, crashing)
