"""Digests of identities that are not in the table yet, with their places in the log: in memory."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from tallystick.storage.sqlite.identity_filter import DIGEST_BYTES, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BUCKETS = 4_096
"""Parts of the table, by the first 12 bits of a digest, for each of which some are gathered."""

_PLACE_BYTES = 5
"""Of a place in the log: no file of SQLite has room for 2**40 identities."""

_ENTRY_BYTES = DIGEST_BYTES + _PLACE_BYTES
_ENTRY = Struct(f">{DIGEST_BYTES}sBI")


class GatheredIdentities:
    """Digests in the order of the table, bucket after bucket; within one they are as they came.

    An entry is a digest and its place, one after another in the bucket's bytes: a dict would take
    six times as much memory. A bucket of some hundred is searched in less than a microsecond.
    """

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(BUCKETS)]

    def add(self, digests: Sequence[bytes], places: Iterable[int]) -> None:
        """Gather digests, each with its place."""
        buckets = self._buckets
        for digest, head, place in zip(digests, words_of(digests)[::4], places, strict=True):
            buckets[head >> 20] += digest + place.to_bytes(_PLACE_BYTES, "big")

    def place_of(self, digest: bytes) -> int | None:
        """Return the place of a digest, or none if it is not gathered."""
        bucket = self._buckets[int.from_bytes(digest[:2], "big") >> 4]
        at = bucket.find(digest)
        while at > 0 and at % _ENTRY_BYTES:  # bytes of two entries, or of a place
            at = bucket.find(digest, at + 1)
        if at < 0:
            return None
        return int.from_bytes(bucket[at + DIGEST_BYTES : at + _ENTRY_BYTES], "big")

    def take(self, first: int, end: int) -> list[tuple[bytes, int]]:
        """Return what some buckets hold, in the order of the table, and empty them."""
        taken: list[tuple[bytes, int]] = []
        for number in range(first, end):
            bucket, self._buckets[number] = self._buckets[number], bytearray()
            entries = sorted(_ENTRY.iter_unpack(bucket))
            taken += [(digest, high << 32 | low) for digest, high, low in entries]
        return taken

    def drop_upto(self, seq: int) -> None:
        """Drop those whose place is not behind this one."""
        last = seq.to_bytes(_PLACE_BYTES, "big")
        for bucket in self._buckets:
            entries = (bucket[at : at + _ENTRY_BYTES] for at in range(0, len(bucket), _ENTRY_BYTES))
            bucket[:] = b"".join([entry for entry in entries if entry[DIGEST_BYTES:] > last])
