"""The events of an append as the writer wants them: columns, and what they add by hour.

They are made where events come in, which may be another process, so that little is left to do for
each event in the one thread that writes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import HOUR_US
from tallystick.domain.quantity import plain, to_parts
from tallystick.storage.selections import check_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NO_PLACE = -1
"""Stands for the place of the event before the first one of its hour."""


class HourSums(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What events of one type and UTC hour add to each customer's plain rollup: how many they are,
    the whole and the pico parts of their sum, the places of the first and the last of them among
    all events here, and the latest of their times.
    """

    type: str
    hour_at: int
    customers: list[str]
    counts: list[int]
    wholes: list[int]
    picos: list[int]
    firsts: list[int]
    lasts: list[int]
    latest: list[int]

    def rows(self) -> Iterator[tuple[str, int, int, int, int, int, int]]:
        """Return what is added to each customer's."""
        return zip(
            self.customers,
            self.counts,
            self.wholes,
            self.picos,
            self.firsts,
            self.lasts,
            self.latest,
            strict=True,
        )


class EventColumns(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Events in order, each field by itself; ``keys`` are those of their identities, ``previous``
    the places here of those before them of the same customer, type and hour. Where all have the
    same source, or type, it is there once: ``of_each`` repeats it.
    """

    keys: list[bytes]
    previous: list[int]
    sources: list[str]
    ids: list[str]
    types: list[str]
    customers: list[str]
    times: list[int]
    values: list[str]
    properties: list[bytes]
    hours: list[HourSums]

    def of_each(self, texts: list[str]) -> list[str]:
        """Return the source, or the type, of each event."""
        return texts * len(self.keys) if len(texts) == 1 else texts

    def events(self) -> Iterator[UsageEvent]:
        """Return the events themselves."""
        return map(
            UsageEvent,
            self.of_each(self.sources),
            self.ids,
            self.of_each(self.types),
            self.customers,
            self.times,
            map(Decimal, self.values),
            self.properties,
        )


def columns_of(keys: Sequence[bytes], events: Sequence[UsageEvent]) -> EventColumns:
    """Return events, whose identities have these keys, as columns.

    Raises:
        UsageOverflow: what they add to an hour would leave 64 bits.
    """
    previous = []
    values = []
    hours: dict[tuple[str, int], dict[str, list[int]]] = {}
    # most events are of the same hour as the one before
    known_type, hour_at = None, -HOUR_US
    sums: dict[str, list[int]] = {}
    for place, event in enumerate(events):
        at, type_ = event.occurred_at, event.type
        if not hour_at <= at < hour_at + HOUR_US or type_ != known_type:
            known_type, hour_at = type_, at - at % HOUR_US
            sums = hours.setdefault((type_, hour_at), {})
        pico = 0
        text = str(event.value)
        if text.isdecimal():
            whole = int(text)
        else:
            text = plain(event.value)
            whole, pico = to_parts(event.value)
        values.append(text)
        added = sums.get(event.customer)
        if added is None:
            sums[event.customer] = [1, whole, pico, place, place, at]
            previous.append(NO_PLACE)
        else:
            previous.append(added[4])
            added[0] += 1
            added[1] += whole
            added[2] += pico
            added[4] = place
            if at > added[5]:
                added[5] = at
    hour_sums = []
    for hour, sums in hours.items():
        columns = [list(column) for column in zip(*sums.values(), strict=True)]
        for extreme in (min, max):
            check_range(extreme(columns[1]))
        hour_sums.append(HourSums(*hour, list(sums), *columns))
    return EventColumns(
        list(keys),
        previous,
        _once([event.source for event in events]),
        [event.id for event in events],
        _once([event.type for event in events]),
        [event.customer for event in events],
        [event.occurred_at for event in events],
        values,
        [event.properties for event in events],
        hour_sums,
    )


def _once(texts: list[str]) -> list[str]:
    return texts[:1] if texts and texts.count(texts[0]) == len(texts) else texts
