"""Events as they arrive: fields of the right types, not yet checked against meters and clock."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec

from tallystick.domain.events import DEFAULT_SOURCE


class EventDraft(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event as a client sends it.

    A field that is no part of an event is refused, because a misspelt ``value`` would otherwise be
    billed as 1. A time needs its offset. Only events of a source that derives ids may lack theirs.
    ``properties`` is kept as the JSON that was sent.
    """

    type: str
    customer: str
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    id: str | msgspec.UnsetType = msgspec.UNSET
    source: str = DEFAULT_SOURCE
    value: Decimal = Decimal(1)
    properties: msgspec.Raw = msgspec.Raw(b"")


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """An event that was refused, and why; ``id`` is there where it could be read."""

    id: str | None
    code: str
    detail: str
