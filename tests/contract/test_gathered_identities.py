"""Gathered digests: found where they are, taken in the table's order, dropped by place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.storage.sqlite.gathered_identities import BUCKETS, GatheredIdentities

digests = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.lists(st.sampled_from([b"\0", b"\1"]), min_size=16, max_size=16).map(b"".join),
)
places = st.one_of(st.integers(1, 3), st.integers(1, 2**40 - 1))


def test_bytes_in_the_middle_of_entries_are_no_digest() -> None:
    gathered = GatheredIdentities()
    first, second = bytes(15) + b"\1", bytes(12) + b"\3\3\3\3"
    gathered.add([first, second], [0x0102030405, 7])
    assert gathered.place_of(first) == 0x0102030405
    assert gathered.place_of(second) == 7
    held = first + b"\1\2\3\4\5" + second + b"\0\0\0\0\7"
    for at in range(1, len(held) - 16):
        if at != 21 and held[at : at + 16] != first:
            assert gathered.place_of(held[at : at + 16]) is None


def test_a_digest_is_found_behind_bytes_that_only_look_like_it() -> None:
    gathered = GatheredIdentities()
    wanted = bytes(16)
    decoys = [bytes(15) + bytes([last]) for last in (1, 2, 3)]
    gathered.add(decoys, [256, 512, 768])  # each place ends in the zero with which one begins
    assert gathered.place_of(wanted) is None
    gathered.add([wanted], [1_024])
    assert gathered.place_of(wanted) == 1_024
    for decoy, place in zip(decoys, (256, 512, 768), strict=True):
        assert gathered.place_of(decoy) == place


@given(st.dictionaries(digests, places, max_size=60), st.lists(digests, max_size=10))
def test_what_is_gathered_is_found_and_nothing_else(
    held: dict[bytes, int], others: list[bytes]
) -> None:
    gathered = GatheredIdentities()
    gathered.add(list(held), held.values())
    for digest in [*held, *others]:
        assert gathered.place_of(digest) == held.get(digest)


@given(st.dictionaries(digests, places, max_size=60), st.integers(0, BUCKETS))
def test_taking_gives_the_order_of_the_table_and_leaves_the_rest(
    held: dict[bytes, int], end: int
) -> None:
    gathered = GatheredIdentities()
    gathered.add(list(held), held.values())
    taken = gathered.take(0, end)
    for digest in held:
        found = gathered.place_of(digest)
        assert (found is None) == (digest in dict(taken))
    assert taken + gathered.take(end, BUCKETS) == sorted(held.items())
    assert gathered.take(0, BUCKETS) == []


@given(st.dictionaries(digests, places, max_size=60), places)
def test_dropping_up_to_a_place_leaves_those_behind_it(held: dict[bytes, int], upto: int) -> None:
    gathered = GatheredIdentities()
    gathered.add(list(held), held.values())
    gathered.drop_upto(upto)
    left = [(digest, place) for digest, place in sorted(held.items()) if place > upto]
    assert gathered.take(0, BUCKETS) == left


def test_a_place_that_no_file_has_room_for_is_refused() -> None:
    with pytest.raises(OverflowError):
        GatheredIdentities().add([bytes(16)], [2**40])
