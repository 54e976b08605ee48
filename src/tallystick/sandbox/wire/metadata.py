"""Metadata: keys are merged, an empty value removes a key, an empty string removes all."""

from __future__ import annotations

from typing import Any

from tallystick.sandbox.wire.errors import refused

KEYS_MAX = 50
"""DOC:api/metadata."""


def merged_metadata(old: dict[str, str], given: Any) -> dict[str, str]:
    """Return the metadata after an update.

    Raises:
        StripeError: 400, more than 50 keys.
    """
    if given == "" or given is None:
        return {}
    merged = {key: value for key, value in (old | given).items() if value != ""}
    if len(merged) > KEYS_MAX:
        raise refused(f"Metadata can have up to {KEYS_MAX} keys.", "metadata")
    return merged
