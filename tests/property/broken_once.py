"""Histories with which the promise of exactly once was broken; each is run every time."""

from __future__ import annotations

from typing import Any

Steps = list[tuple[str, dict[str, Any]]]

BEGIN: tuple[str, dict[str, Any]] = (
    "begin",
    {"way": "meter_events", "how": "sum", "level": "sum", "thresholds": False},
)

BEGIN_WITH_OTHER_RECORDS: tuple[str, dict[str, Any]] = ("begin", {**BEGIN[1], "then": "max"})

BROKEN_ONCE: dict[str, Steps] = {
    "what is missing in a total adds up in several ways": [
        ("begin", {"way": "meter_events", "how": "sum", "level": "sum", "thresholds": False}),
        ("reject", {"times": 2}),
        ("use", {"customer": "bob", "value": 32, "age_us": 129}),
        ("deliver", {"used": [("ada", 7)]}),
        ("reject", {"times": 2}),
        ("correct", {"customer": "bob", "share": 65}),
        ("report", {"at_once": False, "used": [("bob", 28), ("ada", 15)]}),
        ("replace", {"newest": 3, "value": None}),
        ("deliver", {"used": [("leo", 29)]}),
    ],
    "a cancellation cuts a period short that was reported": [
        ("begin", {"way": "meter_events", "how": "sum", "level": "last", "thresholds": False}),
        ("deliver", {"used": [("bob", 19), ("leo", 46), ("cat", 46)]}),
        ("report", {"at_once": False, "used": [("ada", 24), ("cat", 26), ("bob", 2)]}),
        ("outage", {"days": 2, "kind": "server_error_after", "rounds": 3, "used": [("leo", 43)]}),
        ("reject", {"times": 1}),
        ("cancel", {"customer": "bob", "at_period_end": False}),
        ("deliver", {"used": [("ada", 3), ("bob", 44)]}),
        ("outage", {"days": 1, "kind": "cut_before", "rounds": 1, "used": [("bob", 40)]}),
        ("cancel", {"customer": "ada", "at_period_end": False}),
    ],
    "Stripe fails as a restarted process asks whose key it has": [
        ("begin", {"way": "meter_events", "how": "sum", "level": "sum", "thresholds": False}),
        ("fail", {"kind": "server_error", "path": "*", "skip": 0, "times": 1}),
        ("restart", {}),
        ("arm", {"point": "before_record"}),
        ("deliver", {"used": [("ada", 7)]}),
    ],
    "an event that died waits for nothing once it is driven again": [
        ("begin", {"way": "meter_events", "how": "sum", "level": "sum", "thresholds": False}),
        ("reject", {"times": 1}),
        ("wait", {"minutes": 83, "used": [("ada", 15), ("cat", 27)]}),
        ("deliver", {"used": [("cat", 44), ("ada", 5)]}),
    ],
    "events that take each other back leave nothing to report": [
        BEGIN,
        ("deliver", {"used": [("ada", 12)]}),
        ("correct", {"customer": "ada", "share": 89}),
        ("deliver", {"used": [("ada", 10)]}),
    ],
    "usage in the very instant in which its meter is sold": [
        BEGIN,
        ("use", {"customer": "liz", "value": 41, "age_us": 0}),
        ("change_price", {"customer": "liz", "name": "metered", "is_late": True}),
    ],
    "usage before an end is planned again inside the period": [
        BEGIN,
        ("deliver", {"used": [("ada", 10)]}),
        ("report", {"at_once": True, "used": [("ada", 4)]}),
        ("use", {"customer": "ada", "value": 9, "age_us": 0}),
        ("cancel", {"customer": "ada", "at_period_end": False, "is_late": True}),
        ("deliver", {"used": [("ada", 5)]}),
        ("webhooks_arrive", {}),
    ],
    "a period that began meanwhile has what lies in it, if Stripe does": [
        BEGIN,
        ("deliver", {"used": [("ada", 10)]}),
        ("change_price", {"customer": "ada", "name": "per_call", "is_late": True}),
        ("deliver", {"used": [("ada", 5)]}),
        ("change_price", {"customer": "ada", "name": "metered", "is_late": True}),
        ("fail", {"kind": "cut_after", "path": "*/billing/meter_event*", "times": 1, "skip": 0}),
        ("deliver", {"used": [("ada", 7)]}),
        ("webhooks_arrive", {}),
        ("deliver", {"used": [("ada", 3)]}),
    ],
    "an event that moved to another period is taken back": [
        BEGIN,
        ("deliver", {"used": [("cat", 10)]}),
        ("change_price", {"customer": "cat", "name": "metered", "is_late": True}),
        ("deliver", {"used": [("cat", 5), ("cat", 6)]}),
        ("change_price", {"customer": "cat", "name": "per_call", "is_late": True}),
        ("deliver", {"used": [("cat", 7)]}),
        ("webhooks_arrive", {}),
        ("replace", {"newest": 0, "value": None}),
        ("deliver", {"used": [("cat", 3)]}),
    ],
    "levels that moved to another period begin from nothing there": [
        BEGIN,
        ("deliver", {"used": [("liz", 10)]}),
        ("change_price", {"customer": "liz", "name": "metered", "is_late": True}),
        ("deliver", {"used": [("liz", 5)]}),
        ("change_price", {"customer": "liz", "name": "per_seat", "is_late": True}),
        ("deliver", {"used": [("liz", 7)]}),
        ("deliver", {"used": [("liz", 8)]}),
        ("webhooks_arrive", {}),
        ("deliver", {"used": [("liz", 3)]}),
    ],
    "the instant of a change is known better once its event comes": [
        BEGIN,
        ("deliver", {"used": [("cat", 1)]}),
        ("change_price", {"customer": "cat", "name": "metered", "is_late": True}),
        ("deliver", {"used": [("cat", 5)]}),
        ("wait", {"minutes": 70, "used": [("cat", 6)]}),
        ("deliver", {"used": [("cat", 4)]}),
        ("deliver", {"used": [("cat", 2)]}),
        ("webhooks_arrive", {}),
        ("deliver", {"used": [("cat", 3)]}),
    ],
    "records of a subscription that is over": [
        BEGIN,
        ("deliver", {"used": [("leo", 10)]}),
        ("cancel", {"customer": "leo", "at_period_end": False, "is_late": True}),
        ("deliver", {"used": [("leo", 5)]}),
        ("webhooks_arrive", {}),
        ("deliver", {"used": [("leo", 3)]}),
    ],
    "an item without a meter is read first after it was moved there": [
        BEGIN,
        ("wait", {"minutes": 3_000, "used": [("bob", 40)]}),
        ("add_item", {"customer": "bob", "name": "per_seat", "is_late": True}),
        ("change_price", {"customer": "bob", "name": "recorded", "is_late": True}),
        ("report", {"at_once": True, "used": [("bob", 21)]}),
    ],
    "records of an item tell of usage from before it had any": [
        BEGIN,
        ("wait", {"minutes": 10, "used": [("bob", 41)]}),
        ("change_price", {"customer": "bob", "name": "recorded", "is_late": True}),
        ("deliver", {"used": [("bob", 3)]}),
        ("wait", {"minutes": 100, "used": [("bob", 37)]}),
    ],
    "an item that was moved twice was told too much": [
        BEGIN,
        ("wait", {"minutes": 3_000, "used": [("bob", 49)]}),
        ("change_price", {"customer": "bob", "name": "per_call", "is_late": True}),
        ("wait", {"minutes": 3_000, "used": [("bob", 45)]}),
        ("change_price", {"customer": "bob", "name": "recorded", "is_late": True}),
        ("deliver", {"used": [("bob", 25)]}),
        ("wait", {"minutes": 1_000, "used": [("bob", 43)]}),
    ],
    "an item moves from one legacy price to another before it is heard of": [
        BEGIN_WITH_OTHER_RECORDS,
        ("deliver", {"used": [("leo", 10)]}),
        ("change_price", {"customer": "leo", "name": "recorded_dearer", "is_late": True}),
        ("deliver", {"used": [("leo", 5)]}),
        ("webhooks_arrive", {}),
        ("deliver", {"used": [("leo", 7)]}),
    ],
    "an item comes back to a legacy price": [
        BEGIN_WITH_OTHER_RECORDS,
        ("deliver", {"used": [("leo", 10)]}),
        ("change_price", {"customer": "leo", "name": "metered"}),
        ("deliver", {"used": [("leo", 5)]}),
        ("change_price", {"customer": "leo", "name": "recorded_dearer", "is_late": True}),
        ("deliver", {"used": [("leo", 7)]}),
    ],
    "a record may have arrived before its item got a meter": [
        BEGIN_WITH_OTHER_RECORDS,
        ("deliver", {"used": [("leo", 10)]}),
        ("fail", {"kind": "cut_after", "path": "/v1/subscription_items/*", "times": 1, "skip": 0}),
        ("deliver", {"used": [("leo", 5)]}),
        ("change_price", {"customer": "leo", "name": "metered", "is_late": True}),
        ("deliver", {"used": [("leo", 7)]}),
    ],
}
"""Each by what it showed."""
