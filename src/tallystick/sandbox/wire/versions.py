"""API versions: which are served, and what an older one shows differently.

Objects are rendered as in the newest version; an older version is reached by turning them back.
Sources: DOC:changelog/basil/2025-03-31 (periods on items, parents, pricing, payments, usage
records removed), DOC:changelog/endive (billing_cycle_anchor as a hash on update).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from tallystick.sandbox.wire.acacia import OlderFacts, acacia_object
from tallystick.sandbox.wire.errors import StripeError, unsupported


class Version(StrEnum):
    """The versions that the sandbox speaks."""

    ACACIA = "2025-02-24.acacia"
    DAHLIA = "2026-08-26.dahlia"
    ENDIVE = "2026-10-28.endive"

    @property
    def has_usage_records(self) -> bool:
        """Say whether usage records exist: removed in 2025-03-31.basil."""
        return self is Version.ACACIA

    @property
    def is_flexible_default(self) -> bool:
        """Say whether new subscriptions are flexible: from 2025-09-30.clover."""
        return self is not Version.ACACIA

    @property
    def anchor_is_hash_on_update(self) -> bool:
        """Say whether ``billing_cycle_anchor`` is ``{type}`` on update: from endive."""
        return self is Version.ENDIVE


NEWEST = Version.ENDIVE
_WELL_FORMED = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?\Z")


def read_version(header: str | None) -> Version:
    """Return the version that a request asks for; without a header, the account's newest.

    Raises:
        StripeError: 400, no version, or one that the sandbox does not serve.
    """
    if header is None:
        return NEWEST
    for version in Version:
        if version.value == header:
            return version
    if _WELL_FORMED.match(header):
        raise unsupported(f"The API version {header}")
    raise StripeError(f"Invalid Stripe API version: {header}")


def in_version(body: Any, version: Version, facts: OlderFacts) -> Any:
    """Return a rendered body as the version shows it."""
    if version is not Version.ACACIA:
        return body
    return _each_object(body, facts)


def _each_object(node: Any, facts: OlderFacts) -> Any:
    if isinstance(node, list):
        return [_each_object(child, facts) for child in node]
    if isinstance(node, dict):
        turned = {key: _each_object(value, facts) for key, value in node.items()}
        kind = turned.get("object")
        return acacia_object(kind, turned, facts) if isinstance(kind, str) else turned
    return node
