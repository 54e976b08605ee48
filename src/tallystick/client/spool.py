"""A spool on disk: events wait in files until the server has them, whatever happens to the process.

Every process appends to a segment of its own and holds a lock on it. A segment whose lock is free
belongs to a process that is gone: whoever finds it sends it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEGMENT_BYTES_MAX = 8 * 1024 * 1024
"""Bytes after which a new segment is begun, so that what was sent can be deleted."""

SPOOL_BYTES_MAX = 1024 * 1024 * 1024
"""Bytes of one process's segments that wait, before `record` refuses more."""

_OFFSET_BYTES = 8
_SUFFIX = ".ndjson"
_SENT_SUFFIX = ".sent"


class SpoolFull(OSError):
    """The event was not taken: there is no room for it on the disk, or in the spool's limit."""


class Segment:
    """One file of events, a line each. What lies before its sent offset has reached the server.

    Whoever holds one holds its lock.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._sent_path = path.with_suffix(_SENT_SUFFIX)
        self.sent = self._read_sent()

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make a new segment, locked."""
        path = folder / f"{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Take over a segment that no process holds; None if one does, or if it is gone."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if not path.exists():  # sent and deleted between the two calls
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def append(self, line: bytes) -> None:
        """Append one line; when this returns, it outlives the process.

        Raises:
            SpoolFull: the disk is full; nothing of the line stays.
        """
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise SpoolFull(error.errno, f"{self.path}: {error.strerror}; not recorded") from error
        if written != len(line):
            os.ftruncate(self._descriptor, self.size)
            raise SpoolFull(f"{self.path}: the disk is full; the event was not recorded")
        self.size += written

    def waiting(self, lines_max: int, bytes_max: int) -> tuple[list[bytes], int]:
        """Return the next whole lines that were not sent, and the offset behind them.

        A line without its end was cut off by a crash while it was written: nobody was told that it
        was recorded.
        """
        block = os.pread(self._descriptor, bytes_max, self.sent)
        end = block.rfind(b"\n") + 1
        lines = block[:end].splitlines()[:lines_max]
        return lines, self.sent + sum(len(line) + 1 for line in lines)

    def mark_sent(self, offset: int) -> None:
        """Remember that the server has everything before the offset.

        Losing this mark is harmless: the events are sent again, and the server knows their ids.
        """
        self._sent_path.write_bytes(offset.to_bytes(_OFFSET_BYTES))
        self.sent = offset

    def sync(self) -> None:
        """Force what was appended through to the disk, so that it outlives the machine too."""
        os.fsync(self._descriptor)

    def delete(self) -> None:
        """Remove the segment; all of it was sent."""
        self.path.unlink(missing_ok=True)
        self._sent_path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def release(self) -> None:
        """Close the segment and leave it to whoever finds it; an empty one is removed."""
        lines, _ = self.waiting(1, SEGMENT_BYTES_MAX)
        if lines:
            os.close(self._descriptor)
        else:
            self.delete()

    def forget(self) -> None:
        """Close the descriptor that a forked child inherited; the lock stays with its parent."""
        with suppress(OSError):
            os.close(self._descriptor)

    def _read_sent(self) -> int:
        try:
            return int.from_bytes(self._sent_path.read_bytes()[:_OFFSET_BYTES])
        except FileNotFoundError:
            return 0


def orphans(folder: Path, own: set[Path]) -> Iterator[Segment]:
    """Return segments that processes which are gone left behind, each locked for the caller."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        if path not in own:
            segment = Segment.adopt(path)
            if segment is not None:
                yield segment
