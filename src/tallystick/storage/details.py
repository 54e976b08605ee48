"""What a rollup remembers beyond count and sum, as the JSON of a column."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import assert_never

from tallystick.domain.aggregation import Detail, Extremes, Integral, Latest, Level, Members
from tallystick.domain.meters import Fold
from tallystick.domain.quantity import plain

_MEMBER_CHARS = 32


def detail_text(detail: Detail | None) -> str | None:
    """Return the column's text."""
    match detail:
        case None:
            return None
        case Extremes():
            return json.dumps([plain(detail.least), plain(detail.greatest)])
        case Latest():
            return json.dumps(_latest_list(detail))
        case Level():
            return json.dumps([_latest_list(detail.first), _latest_list(detail.last), detail.area])
        case Members():
            return "".join(sorted(digest.hex() for digest in detail.digests))
        case Integral():
            raise TypeError("an integral is read, never stored")
    assert_never(detail)


def detail_of(fold: Fold, text: str | None) -> Detail | None:
    """Return what the column's text says."""
    if text is None:
        return None
    match fold:
        case Fold.SUM:
            return None
        case Fold.EXTREMES:
            least, greatest = json.loads(text)
            return Extremes(Decimal(least), Decimal(greatest))
        case Fold.LAST:
            return _latest_of(json.loads(text))
        case Fold.LEVEL:
            first, last, area = json.loads(text)
            return Level(_latest_of(first), _latest_of(last), area)
        case Fold.MEMBERS:
            digests = range(0, len(text), _MEMBER_CHARS)
            return Members(
                frozenset(bytes.fromhex(text[at : at + _MEMBER_CHARS]) for at in digests)
            )
    assert_never(fold)


def _latest_list(latest: Latest) -> list[int | str]:
    return [latest.at, latest.seq, plain(latest.value)]


def _latest_of(fields: list[int | str]) -> Latest:
    at, seq, value = fields
    return Latest(int(at), int(seq), Decimal(value))
