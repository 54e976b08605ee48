"""A what-if as it is answered, on the command line and over HTTP alike."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import format_instant

if TYPE_CHECKING:
    from tallystick.billing.what_if import WhatIfAnswer, WhatIfRow
    from tallystick.domain.periods import Period

COLUMNS = ("customer", "currency", "before", "after", "difference")


def answer_what_if(answer: WhatIfAnswer, within: Period) -> dict[str, Any]:
    """Return the answer; amounts are integers in minor units."""
    return {
        "from": format_instant(within.start_at),
        "to": format_instant(within.end_at),
        "totals": [_amounts(row) for row in answer.totals],
        "customers": [{"customer": row.customer, **_amounts(row)} for row in answer.rows],
        "unrated": [
            {
                "customer": item.customer,
                "subscription_item": item.stripe_item_id,
                "reason": item.reason,
            }
            for item in answer.unrated
        ],
    }


def what_if_csv(answer: WhatIfAnswer) -> str:
    """Return the rows as CSV, in minor units; the totals come last, with an empty customer."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in (*answer.rows, *answer.totals):
        writer.writerow((row.customer, *_amounts(row).values()))
    return text.getvalue()


def _amounts(row: WhatIfRow) -> dict[str, Any]:
    return {
        "currency": row.currency,
        "before": row.before_minor,
        "after": row.after_minor,
        "difference": row.difference_minor,
    }
