"""Which selections are kept, and what of stored events each of them takes: for every backend."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.aggregation import Point, point_of
from tallystick.domain.events import read_properties
from tallystick.domain.meters import Selection
from tallystick.ports.errors import UsageOverflow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tallystick.domain.meters import Meter

_INTEGER_MAX = (1 << 63) - 1


class TypeSelections(NamedTuple):
    """The selections of one event type: the plain one's id, and the others."""

    plain_id: int
    others: tuple[tuple[int, Selection], ...]


class Selections:
    """The selections in force, by id and by event type."""

    def __init__(self, rows: Iterable[tuple[int, str]]) -> None:
        self.by_id = {id_: Selection.of_definition(text) for id_, text in rows}
        self.by_type: dict[str, TypeSelections] = {}
        for id_, selection in self.by_id.items():
            known = self.by_type.get(selection.event_type)
            if selection.is_plain:
                self.by_type[selection.event_type] = TypeSelections(id_, ())
            elif known:
                self.by_type[selection.event_type] = known._replace(
                    others=(*known.others, (id_, selection))
                )


def lacking(meters: Sequence[Meter], known: Iterable[str]) -> Iterator[Selection]:
    """Return the selections of meters whose definitions are not known yet, plain ones first."""
    seen = set(known)
    wanted = [Selection(meter.event_type) for meter in meters]
    wanted += [selection for meter in meters for selection in meter.selections]
    for selection in wanted:
        if selection.definition not in seen:
            seen.add(selection.definition)
            yield selection


def taken(
    selection: Selection, rows: Iterable[tuple[int, int, str | Decimal, bytes]]
) -> Iterator[tuple[str, Point]]:
    """Return the dimension and point of each event that a selection takes; rows are seq, time,
    what it counts for, and properties.
    """
    for seq, at, value, raw in rows:
        properties = read_properties(raw)
        if selection.takes(properties):
            point = point_of(selection, seq, at, Decimal(value), properties)
            yield selection.dimension(properties), point


def check_range(sum_whole: int) -> None:
    """Raise ``UsageOverflow`` for a sum that would leave 64 bits."""
    if not -_INTEGER_MAX <= sum_whole <= _INTEGER_MAX:
        raise UsageOverflow("a sum of usage would leave the range that is added exactly")
