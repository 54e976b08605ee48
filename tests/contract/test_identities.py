"""Identities of SQLite: keys that never meet, and memory, filter and table that agree."""

from __future__ import annotations

import sqlite3
import string
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.events import identity_of
from tallystick.storage.sqlite import identities
from tallystick.storage.sqlite.database import connect
from tallystick.storage.sqlite.gathered_identities import BUCKETS
from tallystick.storage.sqlite.identities import IdentityIndex, identity_key, merge_upto
from tallystick.storage.sqlite.identity_filter import IdentityFilter
from tallystick.storage.sqlite.migrations import migrate
from tests.fixtures.seeds import chosen_seed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIME_ORDERED = "0192f3a4-b5c6-7d00-8000-00000000{:04x}"
RANDOM = "{:08x}-5f5f-4d00-8000-000000000000"

ids = st.one_of(
    st.text(string.printable, max_size=40),
    st.integers(0, 300).map(TIME_ORDERED.format),
    st.integers(0, 300).map(lambda number: TIME_ORDERED.format(number).upper()),
    st.integers(0, 300).map(lambda number: f"{{{TIME_ORDERED.format(number)}}}"),
    st.integers(0, 300).map(RANDOM.format),
)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "a\0b"]), ids), unique=True))
def test_two_identities_never_share_a_key(names: list[tuple[str, str]]) -> None:
    assert len({identity_key(*name) for name in names}) == len(names)
    for name in names:
        assert identity_key(*name).endswith(identity_of(*name))


def test_only_a_uuid_of_version_7_has_its_time_before_the_digest() -> None:
    ordered = TIME_ORDERED.format(1)
    assert identity_key("s", ordered)[:6] == bytes.fromhex("0192f3a4b5c6")
    assert len(identity_key("s", ordered.upper())) == 22
    for other in (
        RANDOM.format(1),
        ordered.replace("-", ""),
        ordered[:-1],
        "0192f3a4-b5cx-7d00-8000-000000000001",
        "0192 3a4-b5c6-7d00-8000-000000000001",
        "",
    ):
        assert identity_key("s", other) == identity_of("s", other)


class Log:
    """A log of events with nothing but their names, and the index over it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.index = IdentityIndex()
        self.index.load(connection)

    def append(self, names: list[str]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.index.load(self.connection)
        keys = [identity_key("s", name) for name in names]
        assert self.index.claim(self.connection, keys) == {}
        first = self.index.last_seq + 1
        self.connection.executemany(
            "INSERT INTO usage_events VALUES (?, 0, 's', ?, 't', 'c', 0, 0, '1', x'')",
            list(enumerate(names, first)),
        )
        self.index.add(keys)
        self.index.merge_some(self.connection, len(names))
        self.connection.execute("COMMIT")

    def places(self, names: list[str]) -> list[int | None]:
        found = self.index.find(self.connection, [identity_key("s", name) for name in names])
        return [found.get(identity_key("s", name)) for name in names]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(identities, "GATHERED_MAX", 512)
    monkeypatch.setattr(identities, "STEP", 32)
    migrate(tmp_path / "log.db", 0)
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[Log]:
    log = Log(connect(path))
    yield log
    log.connection.close()


def names_of(first: int, count: int) -> list[str]:
    """Return names of both kinds, in turns."""
    return [
        (TIME_ORDERED if number % 2 else RANDOM).format(number)
        for number in range(first, first + count)
    ]


def merged_seq(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("SELECT merged_seq FROM identity_merges").fetchone()
    return int(found)


def test_every_identity_is_found_wherever_a_crash_left_the_merge(path: Path, log: Log) -> None:
    names: list[str] = []
    for batch in range(120):
        added = names_of(batch * 20, 20)
        log.append(added)
        names += added
        if batch % 3 == 0:  # what a process finds that starts after a crash here
            again = Log(connect(path))
            assert again.places(names) == list(range(1, len(names) + 1))
            assert again.places(names_of(10_000, 50)) == [None] * 50
            again.connection.close()
    assert merged_seq(log.connection) > 1_000
    assert log.places(names) == list(range(1, len(names) + 1))


def test_a_crash_in_the_middle_of_a_merge_loses_and_doubles_no_identity(
    path: Path, log: Log
) -> None:
    for batch in range(30):
        log.append(names_of(batch * 20, 20))
    (half,) = log.connection.execute("SELECT COUNT(*) FROM event_identities").fetchone()
    assert 0 < half < 600
    assert merged_seq(log.connection) == 0
    after = Log(connect(path))
    for batch in range(30, 90):
        after.append(names_of(batch * 20, 20))
    upto = merged_seq(after.connection)
    (kept,) = after.connection.execute(
        "SELECT COUNT(*) FROM event_identities WHERE seq <= ?", (upto,)
    ).fetchone()
    after.connection.close()
    assert kept == upto >= 600


def test_two_processes_that_merge_by_turns_forget_nothing(path: Path, log: Log) -> None:
    other = Log(connect(path))
    names: list[str] = []
    for batch in range(150):
        added = names_of(batch * 20, 20)
        (log, other)[batch % 3 == 0].append(added)
        names += added
        if batch % 10 == 0:
            third = Log(connect(path))
            assert third.places(names) == list(range(1, len(names) + 1))
            third.connection.close()
    assert merged_seq(log.connection) > 2_000
    other.connection.close()


def test_the_filter_is_made_anew_where_the_copy_lags_behind(path: Path, log: Log) -> None:
    names = names_of(chosen_seed() % 1_000, 1_000)
    for first in range(0, 1_000, 50):
        log.append(names[first : first + 50])
    while merge_upto(log.connection, 1_000, 100):
        pass
    assert merged_seq(log.connection) == 1_000
    log.connection.execute("DELETE FROM usage_events")  # as an archive lets them go
    after = Log(connect(path))
    assert after.places(names) == list(range(1, 1_001))
    after.append(["new"])
    assert after.places(["new"]) == [1_001]
    with mock.patch.object(IdentityFilter, "rebuild", side_effect=AssertionError("made again")):
        again = Log(connect(path))
    assert again.places([*names, "new"]) == list(range(1, 1_002))
    again.connection.close()
    after.connection.close()


def upgraded(log: Log, names: list[str], merged: int) -> None:
    """Store events as the version before wrote them: no UUIDv7 in the table before it is merged,
    and the merged ones by their digest alone.
    """
    log.connection.executemany(
        "INSERT INTO usage_events VALUES (?, 0, 's', ?, 't', 'c', 0, 0, '1', x'')",
        list(enumerate(names, 1)),
    )
    log.connection.executemany(
        "INSERT INTO event_identities VALUES (?, ?)",
        [(identity_of("s", name), seq) for seq, name in enumerate(names[:merged], 1)],
    )
    log.connection.execute(
        "UPDATE identity_merges SET merged_seq = ?, gathered_seq = ?", (merged, len(names))
    )


def test_what_the_version_before_stored_is_claimed_by_nobody(path: Path, log: Log) -> None:
    names = names_of(0, 40)
    upgraded(log, names, 20)
    after = Log(connect(path))
    keys = [identity_key("s", name) for name in [*names, *names_of(100, 10)]]
    places = dict(zip(keys, range(1, 41), strict=False))
    assert after.index.claim(after.connection, keys) == places
    assert after.places(names) == list(range(1, 41))
    after.connection.execute("DELETE FROM event_identities WHERE seq > 40")
    for batch in range(60):
        after.append(names_of(1_000 + batch * 20, 20))
    assert merged_seq(after.connection) >= 512
    assert after.places(names) == list(range(1, 41))
    again = Log(connect(path))
    assert again.places(names) == list(range(1, 41))
    for used in (after, again):
        used.connection.close()


def test_claims_among_repeats_end_up_at_the_places_of_those_that_are_stored(
    path: Path, log: Log
) -> None:
    log.append(names_of(0, 6))
    new = names_of(10, 6)
    came = [new[0], names_of(1, 1)[0], new[1], new[1], names_of(3, 1)[0], *new[2:], new[5]]
    log.connection.execute("BEGIN IMMEDIATE")
    keys = [identity_key("s", name) for name in came]
    assert log.index.claim(log.connection, keys) == {keys[1]: 2, keys[4]: 4}
    log.connection.execute("COMMIT")  # nothing of it is stored: a place of nobody is no place
    assert log.places(came) == [None, 2, None, None, 4, None, None, None, None, None]
    log.append(new)
    assert log.places(new) == list(range(7, 13))
    again = Log(connect(path))
    assert again.places(new) == list(range(7, 13))
    again.connection.close()


def test_uuids_that_an_older_version_gathered_are_in_the_table_after_the_next_append(
    path: Path, log: Log
) -> None:
    names = names_of(0, 40)
    upgraded(log, names, 20)
    after = Log(connect(path))
    after.append(["new"])
    rows = after.connection.execute("SELECT seq FROM event_identities WHERE LENGTH(identity) > 16")
    assert sorted(seq for (seq,) in rows) == list(range(22, 41, 2))
    reader = connect(path, read_only=True)  # as a check of all invariants reads
    assert Log(reader).places([*names, "new"]) == list(range(1, 42))
    reader.close()
    after.connection.close()


def test_what_another_process_merged_leaves_the_memory_of_one_that_only_looks(
    path: Path, log: Log
) -> None:
    other = Log(connect(path))
    names: list[str] = []
    for batch in range(120):
        added = [RANDOM.format(number) for number in range(batch * 20, batch * 20 + 20)]
        log.append(added)
        names += added
        other.index.load(other.connection)
    assert other.places(names) == list(range(1, 2_401))
    merged = merged_seq(log.connection)
    assert merged >= 1_000
    in_memory = {seq for _, seq in other.index._gathered.take(0, BUCKETS)}
    assert in_memory == set(range(merged + 1, 2_401))
    other.connection.close()


def test_what_another_process_archived_is_known_to_one_that_never_read_it(
    path: Path, log: Log
) -> None:
    other = Log(connect(path))
    names = names_of(0, 40)
    other.append(names)
    merge_upto(other.connection, 39, 100)
    other.connection.execute("DELETE FROM usage_events WHERE seq <= 39")
    log.index.load(log.connection)
    assert log.places(names) == list(range(1, 41))
    log.append(["new"])
    assert log.places([*names, "new"]) == list(range(1, 42))
    other.connection.close()


def test_only_what_gathers_is_written_into_the_filter(log: Log) -> None:
    def parts() -> int:
        (found,) = log.connection.execute("SELECT COUNT(*) FROM identity_filter").fetchone()
        return int(found)

    for batch in range(60):
        log.append([TIME_ORDERED.format(number) for number in range(batch * 20, batch * 20 + 20)])
    assert merged_seq(log.connection) > 0
    assert parts() == 0
    log.append([RANDOM.format(1)])
    for batch in range(60, 120):
        log.append([TIME_ORDERED.format(number) for number in range(batch * 20, batch * 20 + 20)])
    assert parts() == 256


def test_a_merge_goes_on_with_each_append_and_takes_what_comes_meanwhile(log: Log) -> None:
    def kept() -> int:
        (found,) = log.connection.execute("SELECT COUNT(*) FROM event_identities").fetchone()
        return int(found)

    def append(first: int, count: int) -> None:
        log.append([RANDOM.format(number) for number in range(first, first + count)])

    append(0, 511)
    append(511, 1)
    assert kept() == 0
    grown = []
    for batch in range(16):  # half as many as had gathered, 16 at once
        before = kept()
        append(512 + batch * 16, 16)
        grown.append(kept() - before)
    assert min(grown) > 0
    assert max(grown) < 100
    assert merged_seq(log.connection) == 0
    assert 512 < kept() < 768
    append(768, 1)
    assert merged_seq(log.connection) == 512
    before = kept()
    append(769, 254)  # the next one begins when the log has grown by 512 again
    assert kept() == before
    append(1_023, 1)
    append(1_024, 100)
    assert kept() > before
