"""Whatever happens to a file, each identity is found at its place: in memory, table or archive.

Hypothesis lets two processes append to one file by turns, with old identities among the new; they
fail, crash and start again, and events leave for the archive. Keys are made of few different bytes,
so that they share buckets and bits, and begin in the middle of each other.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tallystick.storage.sqlite import identities, identity_filter
from tallystick.storage.sqlite.database import connect
from tallystick.storage.sqlite.identities import IdentityIndex, merge_upto
from tallystick.storage.sqlite.migrations import migrate

if TYPE_CHECKING:
    import sqlite3

digests = st.one_of(
    st.lists(st.sampled_from([b"\0", b"\1"]), min_size=16, max_size=16).map(b"".join),
    st.integers(0, 40).map(lambda number: number.to_bytes(16, "big")),
    st.integers(0, 40).map(lambda number: number.to_bytes(16, "little")),
)
time_ordered = digests.map(  # a time that depends on the digest, which no other identity has
    lambda digest: bytes(5) + digest[-1:] + b"\xff" + digest[1:]
)
keys = st.one_of(digests, digests, time_ordered)

_STORE = "INSERT INTO usage_events VALUES (?, 0, 's', ?, 't', 'c', 0, 0, '1', x'')"


class Process:
    """One of those that write to the file: it remembers what it wrote until it fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = -1
        self.start()

    def start(self) -> None:
        """Open the file with nothing in memory."""
        self.connection = connect(self._path)
        self.connection.execute("PRAGMA synchronous=OFF")
        self._forget()

    def append(self, found: list[bytes], *, fails: bool) -> dict[bytes, int]:
        """Store those that are new, as the log's writer does; return where the others are."""
        self.connection.execute("BEGIN IMMEDIATE")
        self._refresh()
        known = self.index.claim(self.connection, found)
        new = [key for key in found if key not in known]
        if known:
            assert self.index.claim(self.connection, new) == {}
        self.connection.executemany(
            _STORE,
            [(seq, key.hex()) for seq, key in enumerate(new, self.index.last_seq + 1)],
        )
        self.index.add(new)
        self.index.merge_some(self.connection, len(new))
        if fails:
            self.connection.execute("ROLLBACK")
            self._forget()
        else:
            self.connection.execute("COMMIT")
        return known

    def places(self, wanted: list[bytes]) -> dict[bytes, int]:
        """Return where they are."""
        self.connection.execute("BEGIN")
        self._refresh()
        found = self.index.find(self.connection, wanted)
        self.connection.execute("COMMIT")
        return found

    def _refresh(self) -> None:
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self.index.load(self.connection)

    def _forget(self) -> None:
        self.index = IdentityIndex()
        self._version = -1


class IdentityMachine(RuleBasedStateMachine):
    """The file beside a model that is nothing but the place of each key."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._patches: list[Any] = [
            mock.patch.object(identities, "GATHERED_MAX", 12),
            mock.patch.object(identities, "_READ_AT_ONCE", 3),
            mock.patch.object(identity_filter, "FILTER_BYTES", 1 << 17),  # enough for these keys
            mock.patch.object(identities, "identity_key", lambda _, name: bytes.fromhex(name)),
        ]
        for patch in self._patches:
            patch.start()
        path = Path(self._folder.name) / "log.db"
        migrate(path, 0)
        self.processes = [Process(path), Process(path)]
        self.stored: dict[bytes, int] = {}

    @initialize(old=st.lists(keys, max_size=8, unique=True), share=st.floats(0, 1))
    def upgrade(self, old: list[bytes], share: float) -> None:
        """Begin with what an older version wrote, which merged all of it late and by its digest."""
        merged = int(share * len(old))
        connection = self.processes[0].connection
        connection.executemany(_STORE, [(seq, key.hex()) for seq, key in enumerate(old, 1)])
        connection.executemany(
            "INSERT INTO event_identities VALUES (?, ?)",
            [(key[-16:], seq) for seq, key in enumerate(old[:merged], 1)],
        )
        connection.execute(
            "UPDATE identity_merges SET merged_seq = ?, gathered_seq = ?", (merged, len(old))
        )
        self.stored = dict(zip(old, range(1, len(old) + 1), strict=True))

    @rule(
        number=st.integers(0, 1),
        batch=st.lists(keys, min_size=1, max_size=6, unique=True),
        fails=st.sampled_from([False, False, False, True]),
    )
    def append(self, number: int, batch: list[bytes], fails: bool) -> None:
        """Append new ones among old ones; or nothing, because the commit fails."""
        known = self.processes[number].append(batch, fails=fails)
        assert known == {key: self.stored[key] for key in batch if key in self.stored}
        if not fails:
            for key in batch:
                self.stored.setdefault(key, len(self.stored) + 1)

    @rule(number=st.integers(0, 1), others=st.lists(keys, max_size=6))
    def find(self, number: int, others: list[bytes]) -> None:
        """Ask for everything that is stored, and for what may not be."""
        wanted = list({*self.stored, *others})
        assert self.processes[number].places(wanted) == self.stored

    @rule(number=st.integers(0, 1))
    def crash(self, number: int) -> None:
        """Lose the memory of one."""
        self.processes[number].connection.close()
        self.processes[number].start()

    @rule(number=st.integers(0, 1), share=st.sampled_from([0.4, 0.8, 1.0]))
    def archive(self, number: int, share: float) -> None:
        """Let events leave the log, after their identities are merged."""
        connection = self.processes[number].connection
        upto = int(share * len(self.stored))
        is_more = True
        while is_more:
            connection.execute("BEGIN IMMEDIATE")
            is_more = merge_upto(connection, upto, 4)
            connection.execute("COMMIT")
        # the newest stays, so that the log's end is where it was
        connection.execute(
            "DELETE FROM usage_events WHERE seq <= ? AND seq < ?", (upto, len(self.stored))
        )

    def teardown(self) -> None:
        """Find everything, also in what the file alone says, and each identity once."""
        try:
            self.crash(1)
            for process in self.processes:
                assert process.places(list(self.stored)) == self.stored
            places = merged(self.processes[0].connection)
            assert places == list(range(1, len(places) + 1))
        finally:
            for process in self.processes:
                process.connection.close()
            for patch in self._patches:
                patch.stop()
            self._folder.cleanup()


def merged(connection: sqlite3.Connection) -> list[int]:
    """Return the places in the table of what is said to be merged."""
    rows = connection.execute(
        "SELECT seq FROM event_identities, identity_merges WHERE seq <= merged_seq ORDER BY seq"
    )
    return [seq for (seq,) in rows]


def test_each_identity_is_found_at_its_place_whatever_happens() -> None:
    run_state_machine_as_test(
        IdentityMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
