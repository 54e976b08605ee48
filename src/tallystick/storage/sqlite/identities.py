"""Which events are known, for ever: recent ones in memory, all others in a table on disk.

An identity is a digest, so each belongs somewhere else in the table: to write every one at once
would touch a page per event. They gather in memory instead, and are merged in the order of the
table's key, a few with each commit. Memory is only a copy of what the log holds beyond
``merged_seq``: after a crash it is read from there.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from tallystick.domain.events import identity_of
from tallystick.storage.sqlite.statements import read_rows, statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

GATHERED_MAX = 262_144
"""Identities gathered before they are merged: about 45 MB, and two seconds to read again."""

MERGED_PER_EVENT = 2
"""Identities merged for each new one: twice as fast as they come, so that a merge ends in time."""

MERGED_MIN = 64
"""Identities merged with a commit, however few events it has."""

_SQL = statements("events")


class IdentityIndex:
    """Finds the event of an identity. Only the writer's thread may use it, in a transaction."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._merging: dict[bytes, int] = {}
        self._waiting: list[bytes] = []
        self._merging_upto = 0
        self._merged_seq = 0
        self.last_seq = 0

    def load(self, connection: sqlite3.Connection) -> None:
        """Read what the log has gained since the last load, all that is not merged at first."""
        last_seq, merged_seq = connection.execute(_SQL["log_end"]).fetchone()
        if not self.last_seq:
            self.last_seq = self._merged_seq = merged_seq
        if last_seq > self.last_seq:
            rows = connection.execute(_SQL["identities_after"], (self.last_seq,))
            self._recent.update(
                (identity_of(source, event_id), seq) for seq, source, event_id in rows
            )
        self.last_seq = last_seq
        self._merged_seq = max(self._merged_seq, merged_seq)

    def find(self, connection: sqlite3.Connection, identities: Sequence[bytes]) -> dict[bytes, int]:
        """Return the place in the log of those that are stored."""
        found = {identity: self._recent[identity] for identity in self._recent.keys() & identities}
        if self._merging:
            hits = self._merging.keys() & identities
            found.update((identity, self._merging[identity]) for identity in hits)
        if not self._merged_seq:
            return found
        asked = identities if not found else [each for each in identities if each not in found]
        found.update(read_rows(connection, _SQL["find_identities"], asked, 1))
        return found

    def add(self, identities: Sequence[bytes]) -> None:
        """Remember the identities of events that were appended in this order."""
        first = self.last_seq + 1
        self._recent.update(zip(identities, range(first, first + len(identities)), strict=True))
        self.last_seq += len(identities)

    def merge_some(self, connection: sqlite3.Connection, added: int) -> None:
        """Take the next step of a merge, in proportion to what was added; begin one if it is time.

        It goes through the table in order, so that each page is written once in a merge.
        """
        if not self._merging:
            if len(self._recent) < GATHERED_MAX:
                return
            self._merging, self._recent = self._recent, {}
            self._waiting = sorted(self._merging, reverse=True)
            self._merging_upto = self.last_seq
        count = max(MERGED_MIN, MERGED_PER_EVENT * added)
        step, self._waiting[-count:] = self._waiting[-count:][::-1], []
        rows = [part for identity in step for part in (identity, self._merging[identity])]
        write_rows(connection, _SQL["merge_identities"], rows, 2)
        if not self._waiting:
            connection.execute(_SQL["merged_upto"], (self._merging_upto,))
            self._merged_seq = self._merging_upto
            self._merging = {}


def merge_upto(connection: sqlite3.Connection, upto: int, limit: int) -> bool:
    """Merge the next identities of the log up to a place; tell whether there are more.

    For whoever lets events leave the log. The writer that serves may merge some of them again.
    """
    _, merged_seq = connection.execute(_SQL["log_end"]).fetchone()
    rows = connection.execute(_SQL["identities_upto"], (merged_seq, upto, limit)).fetchall()
    if not rows:
        return False
    merged = sorted((identity_of(source, event_id), seq) for seq, source, event_id in rows)
    write_rows(connection, _SQL["merge_identities"], list(chain.from_iterable(merged)), 2)
    connection.execute(_SQL["merged_upto"], (rows[-1][0],))
    return len(rows) == limit
