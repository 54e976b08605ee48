"""What of the log is counted next for lateness, and what it counts to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.events import read_properties
from tallystick.domain.instants import DAY_US
from tallystick.domain.lateness import delay_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tallystick.domain.meters import Selection

DayDelays = Counter[tuple[int, int]]
"""Events by day of arrival and delay."""


class Stretch(NamedTuple):
    """What is counted next: the events of ``(after, upto]``, for those that stand at ``after``."""

    after: int
    upto: int
    selections: tuple[Selection, ...]


def next_stretch(
    marks: Mapping[str, int], last_seq: int, selections: Sequence[Selection], limit: int
) -> Stretch | None:
    """Return what those that are furthest behind count next, at most up to where others stand."""
    stands = {selection: marks.get(selection.definition, 0) for selection in selections}
    ends = [*stands.values(), last_seq]
    after = min(ends)
    upto = min((end for end in ends if end > after), default=after)
    if upto == after:
        return None
    behind = tuple(selection for selection, mark in stands.items() if mark == after)
    return Stretch(after, min(upto, after + limit), behind) if behind else None


def furthest_behind(
    marks: Mapping[str, int], last_seq: int, selections: Sequence[Selection]
) -> int:
    """Return how many places lie ahead of the selection that is furthest behind."""
    stands = [marks.get(selection.definition, 0) for selection in selections]
    return max(last_seq - min(stands, default=last_seq), 0)  # the newest may be archived


def counted(
    stretch: Stretch,
    of_types: Callable[[], Iterable[tuple[str, int, int, int]]],
    of_type: Callable[[str], Iterable[tuple[int, int, bytes]]],
) -> dict[str, DayDelays]:
    """Return the delays of a stretch by the definitions of its selections.

    ``of_types`` reads type, day, delay and count of all its events; ``of_type`` reads when each
    event of a type happened and arrived, with its properties.
    """
    plain = {each.event_type: each.definition for each in stretch.selections if each.is_plain}
    found: dict[str, DayDelays] = {each.definition: Counter() for each in stretch.selections}
    if plain:
        for event_type, day_at, delay, count in of_types():
            if event_type in plain:
                found[plain[event_type]][day_at, delay] = count
    for selection in stretch.selections:
        if not selection.is_plain:
            for occurred_at, received_at, properties in of_type(selection.event_type):
                if selection.takes(read_properties(properties)):
                    day_at = received_at - received_at % DAY_US
                    found[selection.definition][day_at, delay_ms(occurred_at, received_at)] += 1
    return found
