"""Stripe's signature of a webhook.

``Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX...]``, each HEX an HMAC-SHA256 of ``SECONDS.BODY``
keyed with a signing secret; while a secret is rolled Stripe signs with both
(docs.stripe.com/webhooks/signature).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from tallystick.domain.instants import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE_SECONDS = 300
"""How far the signature's time may lie from ours, as in Stripe's own libraries."""

HEADER_CHARS_MAX = 1_000
SIGNATURES_MAX = 10
"""Signatures of one header that are compared: Stripe sends two while a secret is rolled."""


class SignatureError(ValueError):
    """A signature that proves nothing; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_signature(body: bytes, header: str | None, secrets: Sequence[str], now: int) -> None:
    """Make sure that the body was signed with one of the secrets, not long ago.

    Takes the same time whichever secret fits and wherever a signature differs.

    Raises:
        SignatureError: ``signature_missing``, ``signature_malformed``, ``signature_wrong`` or
            ``signature_too_old``, which is also what a time too far ahead is called.
    """
    if not header:
        raise SignatureError("signature_missing", "there is no Stripe-Signature header")
    time_text, signatures = _parts(header)
    signed = time_text.encode("ascii") + b"." + body
    is_right = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        for signature in signatures:
            is_right |= hmac.compare_digest(expected.encode(), signature.encode())
    if not is_right:
        raise SignatureError("signature_wrong", "no signature fits the body and our secrets")
    apart = abs(now // SECOND_US - int(time_text))
    if apart > TOLERANCE_SECONDS:
        raise SignatureError(
            "signature_too_old",
            f"the signature's time is {apart} seconds from ours; {TOLERANCE_SECONDS} are tolerated",
        )


def _parts(header: str) -> tuple[str, list[str]]:
    pairs = [part.strip().partition("=") for part in header[:HEADER_CHARS_MAX].split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == "v1"]
    is_time = len(times) == 1 and times[0].isascii() and times[0].isdigit() and len(times[0]) < 13
    if not is_time or not signatures or len(signatures) > SIGNATURES_MAX:
        raise SignatureError(
            "signature_malformed", "the Stripe-Signature header is not t=SECONDS,v1=HEX"
        )
    return times[0], signatures
