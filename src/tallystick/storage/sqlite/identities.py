"""Which events are known, for ever: in a table on disk, the recent ones of some kinds in memory.

The key of a UUIDv7 begins with its time. New ones are neighbours in the table, and are written
there with their events. Any other key is a digest, which belongs anywhere in the table: to write
every one at once would touch a page per event. They gather in memory instead, and are merged in the
order of the table's key, a few with each commit. Memory is only a copy of what the log holds beyond
``merged_seq``: after a crash it is read from there.
"""

from __future__ import annotations

from binascii import unhexlify
from itertools import chain, count
from typing import TYPE_CHECKING

from tallystick.domain.events import identity_of
from tallystick.storage.sqlite.gathered_identities import BUCKETS, GatheredIdentities
from tallystick.storage.sqlite.identity_filter import DIGEST_BYTES, IdentityFilter
from tallystick.storage.sqlite.statements import read_rows, statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

GATHERED_MAX = 524_288
"""Events whose identities are gathered before they are merged: some 12 MB, and 7 for each page of a
table with 10 million. A start may find half as many more, and read for two or three seconds."""

MERGED_PER_EVENT = 2
"""Identities merged for each new event, so that a merge ends before the next one begins."""

STEP = 8
"""Buckets that are merged at once: some 1,000 identities, which take a commit some milliseconds."""

_READ_AT_ONCE = 4_096
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
        self._gathered = GatheredIdentities()
        self._ordered: dict[bytes, int] = {}
        self._merge: _Merge | None = None
        self._filter: IdentityFilter | None = None
        self._merged_seq = 0
        self._filtered_seq = 0
        self._gathered_seq = 0
        self._is_rebuilt = False
        self.last_seq = 0

    def load(self, connection: sqlite3.Connection) -> None:
        """Read what the log has gained since the last load, all that is not merged at first."""
        last_seq, merged_seq, self._filtered_seq, self._gathered_seq = connection.execute(
            _SQL["log_end"]
        ).fetchone()
        if self._filter is None or merged_seq > self.last_seq:
            # what another process merged may have left the log for the archive already: the table
            # and the filter know it, so that memory begins anew
            self._gathered, self._ordered, self._merge = GatheredIdentities(), {}, None
            self._filter = IdentityFilter()
            self._is_rebuilt = self._filtered_seq < merged_seq
            if self._is_rebuilt:
                self._filter.rebuild(connection)
            else:
                self._filter.read(connection)
            self.last_seq = merged_seq
        elif merged_seq > self._merged_seq:
            self._gathered.drop_upto(merged_seq)
        self._merged_seq = merged_seq
        if last_seq > self.last_seq:
            rows = connection.execute(_SQL["identities_after"], (self.last_seq,))
            while some := rows.fetchmany(_READ_AT_ONCE):
                self._take_in(some)
            self.last_seq = last_seq

    def _take_in(self, rows: list[tuple[int, str, str]]) -> None:
        """Gather the identities of events that are in the log already."""
        assert self._filter is not None
        digests, places = [], []
        for seq, source, event_id in rows:
            key = identity_key(source, event_id)
            if len(key) == DIGEST_BYTES:
                digests.append(key)
                places.append(seq)
            elif seq <= self._gathered_seq:
                self._ordered[key] = seq
                self._filter.add([key])
        self._filter.add(digests)
        self._gathered.add(digests, places)

    def find(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the place in the log of those that are stored."""
        found = self._find_gathered(connection, keys)
        ordered = [key for key in keys if len(key) > DIGEST_BYTES and key not in found]
        return found | self._find_in_table(connection, {key: key for key in ordered})

    def claim(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the place of those that are stored. Those that are not, and go into the table at
        once, get places there, as though all of the keys followed the log's end: if only some do,
        the caller claims again for these.
        """
        ordered = [key for key in keys if len(key) > DIGEST_BYTES]
        if self._gathered_seq:
            found = self._find_gathered(connection, keys)
        elif len(ordered) < len(keys):
            digests = [key for key in keys if len(key) == DIGEST_BYTES]
            found = self._find_gathered(connection, digests)
        else:
            found = {}
        if ordered:
            places = zip(keys, count(self.last_seq + 1))
            claimed = [
                (key, seq) for key, seq in places if len(key) > DIGEST_BYTES and key not in found
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
        found, asked = {}, {}
        for key in self._filter.passing(keys):
            place = self._place_in_memory(key)
            if place is None:
                # a UUIDv7 that was merged before the time came into the key has its digest alone
                asked[key[-DIGEST_BYTES:]] = key
            else:
                found[key] = place
        return found | self._find_in_table(connection, asked)

    def _place_in_memory(self, key: bytes) -> int | None:
        return self._gathered.place_of(key) if len(key) == DIGEST_BYTES else self._ordered.get(key)

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
        assert self._filter is not None
        digests = [key for key in keys if len(key) == DIGEST_BYTES]
        if digests:
            places = [
                seq for seq, key in enumerate(keys, self.last_seq + 1) if len(key) == DIGEST_BYTES
            ]
            self._filter.add(digests)
            self._gathered.add(digests, places)
        self.last_seq += len(keys)

    def merge_some(self, connection: sqlite3.Connection, added: int) -> None:
        """Go on with a merge, by how many events were added; begin one if it is time."""
        if self._is_rebuilt:
            self._keep_filter(connection)
            self._is_rebuilt = False
        if self._ordered:
            _insert(connection, sorted(self._ordered.items()))
            self._ordered = {}
        if self._merge is None:
            if self.last_seq - self._merged_seq < GATHERED_MAX:
                return
            self._merge = _Merge(self._gathered, self.last_seq)
        if self._merge.step(connection, added):
            self._end_merge(connection, self._merge.upto)
            self._merge = None

    def _end_merge(self, connection: sqlite3.Connection, upto: int) -> None:
        if self._filtered_seq < upto:  # otherwise another process wrote one that knows more
            self._keep_filter(connection)
        connection.execute(_SQL["merged_upto"], (upto,))
        self._merged_seq = max(self._merged_seq, upto)

    def _keep_filter(self, connection: sqlite3.Connection) -> None:
        """Bring the copy in the database to what memory knows: everything up to the log's end."""
        assert self._filter is not None
        if self._filter.has_changed:
            self._filter.write(connection)
        self._filtered_seq = self.last_seq
        connection.execute(_SQL["filtered_upto"], (self._filtered_seq,))


class _Merge:
    """Takes gathered identities into the table, bucket after bucket; those of events that come
    meanwhile as well, if their bucket is still to come. ``upto`` is up to which event all are
    there once it has ended.
    """

    def __init__(self, gathered: GatheredIdentities, upto: int) -> None:
        self._gathered = gathered
        self.upto = upto
        self._events_since = 0
        self._merged_buckets = 0

    def step(self, connection: sqlite3.Connection, added: int) -> bool:
        """Take the buckets whose turn it is; tell whether all were taken before."""
        if self._merged_buckets == BUCKETS:
            return True
        self._events_since += added
        due = min(BUCKETS, self._events_since * MERGED_PER_EVENT * BUCKETS // GATHERED_MAX)
        if due - self._merged_buckets >= STEP or due == BUCKETS:
            _insert(connection, self._gathered.take(self._merged_buckets, due))
            self._merged_buckets = due
        return False


def _insert(connection: sqlite3.Connection, rows: Iterable[tuple[bytes, int]]) -> None:
    write_rows(connection, _SQL["merge_identities"], list(chain.from_iterable(rows)), 2)


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
    _insert(connection, merged)
    connection.execute(_SQL["merged_upto"], (rows[-1][0],))
    return len(rows) == limit
