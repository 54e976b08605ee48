"""A process that applies a catalog and kills itself at a named point.

`python tests/catalog/apply_until.py CATALOG POINT`: settings come from the environment. Every write
of `apply` is a point, before and after it, like ``before create_price calls_monthly`` or ``after
keep``; what lies between is one request, which Stripe has or has not. POINT ``list`` kills nowhere
and prints every point that was passed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from tallystick.billing.catalog_changes import apply_catalog
from tallystick.billing.catalog_file import read_catalog
from tallystick.config import load_settings
from tallystick.wiring import Tallystick

_WRITES = ("create_meter", "create_product", "create_price", "update", "keep")


class Mortal:
    """Passes every call on, and dies where it was told to."""

    def __init__(self, inner: object, point: str, passed: list[str]) -> None:
        self._inner = inner
        self._point = point
        self._passed = passed

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        if name not in _WRITES:
            return call

        def write(*arguments: Any, **named: Any) -> Any:
            what = f"{name} {_named(arguments)}".strip()
            if f"before {what}" in self._passed:
                what += " again"
            self._reach(f"before {what}")
            outcome = call(*arguments, **named)
            self._reach(f"after {what}")
            return outcome

        return write

    def _reach(self, point: str) -> None:
        self._passed.append(point)
        if point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


def _named(arguments: tuple[Any, ...]) -> str:
    first = arguments[0]
    if hasattr(first, "price"):  # a new price
        return str(first.price.key)
    if len(arguments) == 3:  # an update: of which kind, and what of it
        return f"{first} {' '.join(sorted(arguments[2]))}"
    return str(getattr(first, "key", ""))


def main() -> None:
    file, point = sys.argv[1:]
    passed: list[str] = []
    with Tallystick(load_settings()) as product:
        store: Any = Mortal(product.catalog, point, passed)
        gateway: Any = Mortal(product.stripe.catalog, point, passed)
        apply_catalog(read_catalog(Path(file)), store, gateway, product.clock)
    if point == "list":
        sys.stdout.write("\n".join(passed) + "\n")


if __name__ == "__main__":
    main()
