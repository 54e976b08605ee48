"""Rejections: what Stripe took, and says later that it did not count."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from tallystick.domain.json_types import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.ports.clock import Clock
    from tallystick.ports.inbox import MeterErrors
    from tallystick.ports.outbox import Confirmations

BATCH = 100


class _Request(msgspec.Struct):
    identifier: str


class _Sample(msgspec.Struct):
    request: _Request | None = None
    error_message: str = ""


class _ErrorType(msgspec.Struct):
    code: str
    sample_errors: list[_Sample] = []


class _Reason(msgspec.Struct):
    error_types: list[_ErrorType] = []


class _Facts(msgspec.Struct):
    reason: _Reason | None = None


class _Event(msgspec.Struct):
    data: _Facts | None = None


prepare(_Event)


class Rejections:
    """Marks reports dead that the samples of Stripe's error reports name.

    A sample names the request key, which is the report's identifier, with a number behind a point
    for a later attempt. Samples are not all failures: the others are found by reading totals.
    """

    def __init__(self, errors: MeterErrors, confirmations: Confirmations, clock: Clock) -> None:
        self._errors = errors
        self._confirmations = confirmations
        self._clock = clock

    def run(self) -> Counter[str]:
        """Match every error report that is new; return how many samples came to what."""
        outcomes: Counter[str] = Counter()
        after = self._confirmations.errors_read()
        while batch := self._errors.after(after, BATCH):
            for error in batch:
                for identifier, reason in _samples(error.body):
                    is_ours = self._confirmations.reject(identifier, reason, self._clock.now())
                    outcomes["rejected" if is_ours else "not_ours"] += 1
            after = batch[-1].seq
            self._confirmations.mark_errors_read(after)
        return outcomes


def _samples(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield identifier and reason of each sample; a body of another shape has none."""
    try:
        event = msgspec.json.decode(body, type=_Event)
    except msgspec.MsgspecError:
        return
    if event.data is None or event.data.reason is None:
        return
    for kind in event.data.reason.error_types:
        for sample in kind.sample_errors:
            if sample.request is not None:
                identifier = sample.request.identifier.partition(".")[0]
                yield identifier, f"{kind.code}: {sample.error_message}"
