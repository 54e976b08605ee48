"""Moves a database into another one, row by row, and compares both afterwards."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from tallystick.oversight.invariants import check_store
from tallystick.ports.moving import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tallystick.domain.meters import MeterSet
    from tallystick.ports.moving import MovingSource, MovingTarget
    from tallystick.ports.verification import Snapshot

BATCH_ROWS = 5_000
"""Rows in one transaction: what a run that is killed does again."""

_DIGEST_BYTES = 16


class Moved(NamedTuple):
    """What a run did; ``rows`` by table, of which ``resumed`` were there before it."""

    rows: dict[str, int]
    resumed: int


def move(
    source: MovingSource, target: MovingTarget, note: Callable[[str, int, int], None], now: int
) -> Moved:
    """Copy what is not copied yet, batch by batch.

    ``note`` is told the table, how many of its rows are done, and how many there are.

    The target is not finished then: that is for whoever compared both.

    Raises:
        TargetInUse: the target has something else in it.
    """
    target.begin(source.fingerprint(), now)
    counts = source.counts()
    resumed = 0
    for table in TABLES:
        count = counts[table]
        done = target.copied(table)
        resumed += done
        note(table, done, count)
        rows = islice(source.rows(table), done, None)
        while batch := list(islice(rows, BATCH_ROWS)):
            target.add(table, batch)
            done += len(batch)
            note(table, done, count)
    return Moved(counts, resumed)


def compare(source: Snapshot, target: Snapshot, meters: MeterSet) -> list[str]:
    """Return what differs between two stores: each fact that is in one and not in the other counts,
    and the invariants hold in both.
    """
    found = []
    for name, read in _FACTS.items():
        ours, theirs = _digest(read(source)), _digest(read(target))
        if ours != theirs:
            found.append(f"{name} differ: {ours[0]:,} in the source, {theirs[0]:,} in the target")
    for side, snapshot in (("source", source), ("target", target)):
        for check in check_store(snapshot, meters):
            found += [f"{side}: {finding}" for finding in check.findings]
    return found


_FACTS: dict[str, Callable[[Snapshot], Iterable[object]]] = {
    "events": lambda snapshot: snapshot.events(),
    "usage": lambda snapshot: (cell for cell in snapshot.cells() if cell[1].event_count),
    "reports": lambda snapshot: snapshot.reports(),
    "totals of reports": lambda snapshot: snapshot.totals(),
    "due usage": lambda snapshot: snapshot.due(),
}


def _digest(facts: Iterable[object]) -> tuple[int, int]:
    """Return how many facts there are, and a sum of their digests: their order does not matter."""
    count = total = 0
    for fact in facts:
        count += 1
        one = hashlib.blake2b(_text(fact).encode(), digest_size=_DIGEST_BYTES)
        total += int.from_bytes(one.digest())
    return count, total % (1 << 8 * _DIGEST_BYTES)


def _text(fact: object) -> str:
    """Return a fact as text that is the same for equal facts, however numbers are written."""
    if isinstance(fact, Decimal):
        return str(fact.normalize())
    if isinstance(fact, frozenset):
        return str(sorted(map(_text, fact)))
    if isinstance(fact, tuple):
        return f"({','.join(map(_text, fact))})"
    if is_dataclass(fact):
        return f"({','.join(_text(getattr(fact, each.name)) for each in fields(fact))})"
    return repr(fact)
