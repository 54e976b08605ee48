"""Which events are known, for ever: in a table on disk, the recent ones of some kinds in memory.

The key of a UUIDv7 begins with its time. New ones are neighbours in the table, and are written
there with their events. Any other key is a digest, which belongs anywhere in the table: to write
every one at once would touch a page per event. They gather in memory instead, and are merged in the
order of the table's key, a few with each commit. Memory is only a copy of what the log holds beyond
``merged_seq``: after a crash it is read from there.
"""

from __future__ import annotations

from binascii import unhexlify
from itertools import chain, count, islice
from typing import TYPE_CHECKING

from tallystick.domain.events import identity_of
from tallystick.storage.sqlite.identity_filter import IdentityFilter
from tallystick.storage.sqlite.statements import read_rows, statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

GATHERED_MAX = 196_608
"""Events whose identities are gathered before they are merged: about 30 MB at most, and two seconds
to read again."""

MERGED_PER_EVENT = 2
"""Identities merged for each new one, so that a merge ends before the next one begins."""

DEALT_FOR_ONE = 8
"""Identities that are dealt in the time in which one is inserted."""

STEP = 1_024
"""Identities of one step: some milliseconds, which a commit waits for now and then."""

_DIGEST_BYTES = 16
_UUID_CHARS = 36
_SQL = statements("identities")


def identity_key(source: str, event_id: str) -> bytes:
    """Return the key of an identity in the table: its digest, after the time of a UUIDv7.

    It depends on the identity alone, and two identities never share one. With the time in front new
    identities stand next to each other.
    """
    digest = identity_of(source, event_id)
    if len(event_id) == _UUID_CHARS and event_id[14] == "7":
        try:
            return unhexlify(event_id[:8] + event_id[9:13]) + digest
        except ValueError:  # it only looks like one
            return digest
    return digest


class IdentityIndex:
    """Finds the event of an identity, by its key. Only the writer's thread may use it, in a
    transaction.
    """

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._merge: _Merge | None = None
        self._owed = 0
        self._filter: IdentityFilter | None = None
        self._merged_seq = 0
        self._filtered_seq = 0
        self._gathered_seq = 0
        self._rebuilt_upto = 0
        self.last_seq = 0

    def load(self, connection: sqlite3.Connection) -> None:
        """Read what the log has gained since the last load, all that is not merged at first."""
        last_seq, merged_seq, filtered_seq, self._gathered_seq = connection.execute(
            _SQL["log_end"]
        ).fetchone()
        if merged_seq > self.last_seq:
            # what another process merged may have left the log for the archive already: the table
            # and the filter know it, so that memory begins anew
            self._recent, self._merge, self._filter = {}, None, None
        if self._filter is None:
            self.last_seq = merged_seq
            self._filter = IdentityFilter()
            if filtered_seq < merged_seq:
                self._filter.rebuild(connection)
                self._rebuilt_upto = merged_seq
            else:
                self._filter.read(connection)
        self._merged_seq = merged_seq
        self._filtered_seq = filtered_seq
        if last_seq > self.last_seq:
            rows = connection.execute(_SQL["identities_after"], (self.last_seq,))
            for seq, source, event_id in rows:
                key = identity_key(source, event_id)
                if len(key) == _DIGEST_BYTES or seq <= self._gathered_seq:
                    self._recent[key] = seq
            self.last_seq = last_seq

    def find(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the place in the log of those that are stored."""
        found = self._find_gathered(connection, keys)
        ordered = [key for key in keys if len(key) > _DIGEST_BYTES and key not in found]
        return found | self._find_in_table(connection, {key: key for key in ordered})

    def claim(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the place of those that are stored. Those that are not, and go into the table at
        once, get places there, as though all of the keys followed the log's end: if only some do,
        the caller claims again for these.
        """
        ordered = [key for key in keys if len(key) > _DIGEST_BYTES]
        if self._gathered_seq:
            found = self._find_gathered(connection, keys)
        elif len(ordered) < len(keys):
            digests = [key for key in keys if len(key) == _DIGEST_BYTES]
            found = self._find_gathered(connection, digests)
        else:
            found = {}
        if ordered:
            places = zip(keys, count(self.last_seq + 1))
            claimed = [
                (key, seq) for key, seq in places if len(key) > _DIGEST_BYTES and key not in found
            ]
            claimed.sort()
            before = connection.total_changes
            write_rows(connection, _SQL["claim_identities"], list(chain(*claimed)), 2)
            if connection.total_changes - before < len(claimed):
                found |= self._find_in_table(connection, {key: key for key, _ in claimed})
        return found

    def _find_gathered(
        self, connection: sqlite3.Connection, keys: Sequence[bytes]
    ) -> dict[bytes, int]:
        """Return the place of those that are in memory, or were merged by their digest."""
        assert self._filter is not None
        found = {key: self._recent[key] for key in self._recent.keys() & keys}
        if self._merge is not None:
            merging = self._merge.places
            found.update((key, merging[key]) for key in merging.keys() & keys)
        # a UUIDv7 that was merged before the time came into the key has its digest alone
        asked = {
            key[-_DIGEST_BYTES:]: key for key in self._filter.passing(keys) if key not in found
        }
        return found | self._find_in_table(connection, asked)

    def _find_in_table(
        self, connection: sqlite3.Connection, asked: dict[bytes, bytes]
    ) -> dict[bytes, int]:
        """Return, by key, the places that the table has for the forms of keys in it; one beyond the
        log's end is claimed, and no event is there.
        """
        rows = read_rows(connection, _SQL["find_identities"], list(asked), 1)
        return {asked[form]: seq for form, seq in rows if seq <= self.last_seq}

    def add(self, keys: Sequence[bytes]) -> None:
        """Remember the identities of events that were appended in this order."""
        places = zip(keys, count(self.last_seq + 1))
        self._recent.update(place for place in places if len(place[0]) == _DIGEST_BYTES)
        self.last_seq += len(keys)

    def merge_some(self, connection: sqlite3.Connection, added: int) -> None:
        """Take the next steps of a merge, by what was added; begin one if it is time."""
        assert self._filter is not None
        if self._rebuilt_upto:
            self._filter.write(connection)
            connection.execute(_SQL["filtered_upto"], (self._rebuilt_upto,))
            self._rebuilt_upto = 0
        if self._merge is None:
            if self.last_seq - self._merged_seq < GATHERED_MAX:
                return
            self._merge = _Merge(self._recent, self.last_seq, self._filter)
            self._recent = {}
        self._owed += MERGED_PER_EVENT * added
        while self._merge is not None and self._owed >= STEP:
            self._owed -= STEP
            if self._merge.step(connection, self._filtered_seq):
                self._merged_seq = self._merge.upto
                self._filtered_seq = max(self._filtered_seq, self._merge.upto)
                self._merge = None


class _Merge:
    """Takes gathered identities into the table in steps. First they are dealt by their first byte,
    so that a page takes several at once; then they are inserted, and then the filter is written.
    ``places`` are those that are not in the table yet, ``upto`` is up to which event it merges.
    """

    def __init__(
        self, places: dict[bytes, int], upto: int, identity_filter: IdentityFilter
    ) -> None:
        self.places = places
        self.upto = upto
        self._filter = identity_filter
        self._undealt = iter(places)
        self._dealt: list[list[bytes]] = [[] for _ in range(256)]
        self._has_inserted = False

    def step(self, connection: sqlite3.Connection, filtered_seq: int) -> bool:
        """Take a step; tell whether it was the last one."""
        if keys := list(islice(self._undealt, DEALT_FOR_ONE * STEP)):
            for key in keys:
                self._dealt[key[0]].append(key)
            return False
        while self._dealt and len(keys) < STEP:
            keys += self._dealt.pop()
        if keys:
            self._insert(connection, keys)
            return False
        if filtered_seq < self.upto:  # otherwise another process wrote one that knows more
            if self._has_inserted:
                self._filter.write(connection)
            connection.execute(_SQL["filtered_upto"], (self.upto,))
        connection.execute(_SQL["merged_upto"], (self.upto,))
        return True

    def _insert(self, connection: sqlite3.Connection, keys: list[bytes]) -> None:
        keys.sort()
        rows = list(chain.from_iterable(zip(keys, map(self.places.pop, keys), strict=True)))
        write_rows(connection, _SQL["merge_identities"], rows, 2)
        self._filter.add(keys)
        self._has_inserted = True


def merge_upto(connection: sqlite3.Connection, upto: int, limit: int) -> bool:
    """Merge the next identities of the log up to a place; tell whether there are more.

    For whoever lets events leave the log. The filter in the database lags behind then, until the
    writer that serves merges them again, or one that starts makes it anew.
    """
    _, merged_seq, *_ = connection.execute(_SQL["log_end"]).fetchone()
    rows = connection.execute(_SQL["identities_upto"], (merged_seq, upto, limit)).fetchall()
    if not rows:
        return False
    merged = sorted((identity_key(source, event_id), seq) for seq, source, event_id in rows)
    write_rows(connection, _SQL["merge_identities"], list(chain.from_iterable(merged)), 2)
    connection.execute(_SQL["merged_upto"], (rows[-1][0],))
    return len(rows) == limit
