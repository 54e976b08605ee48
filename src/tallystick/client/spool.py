"""A spool on disk: events wait in files until the server has them, whatever happens to the process.

Every process appends to segments of its own and holds a lock on each. A segment whose lock is free
belongs to a process that is gone: whoever finds it sends it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SEGMENT_BYTES_MAX = 8 * 1024 * 1024
"""Bytes after which a new segment is begun, so that what was sent can be deleted."""

SPOOL_BYTES_MAX = 1024 * 1024 * 1024
"""Bytes of one process's segments that wait, before `record` refuses more."""

LINE_BYTES_MAX = 64 * 1024
"""No event is larger: its names and properties have limits that `record` holds."""

_OFFSET_BYTES = 8
_SUFFIX = ".ndjson"
_SENT_SUFFIX = ".sent"
_OWNER_ONLY = 0o600


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
        self._synced = 0
        self._has_torn_tail = False
        self._sent_path = path.with_suffix(_SENT_SUFFIX)
        self.sent = self._read_sent()

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make a new segment, locked.

        Raises:
            SpoolFull: the disk is full, or the folder cannot be written.
        """
        while True:
            path = folder / f"{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}"
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
                descriptor = os.open(path, flags, _OWNER_ONLY)
            except OSError as error:
                raise _not_recorded(path, error) from error
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():
                return cls(path, descriptor)
            # another process saw it before it was locked, found it empty and removed it
            os.close(descriptor)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Take over a segment that no process holds; None if one does, or if it is gone.

        None, too, for a file of another user: that user's processes send it.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except (FileNotFoundError, PermissionError):
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
            SpoolFull: the disk is full; nothing of the line is ever sent.
        """
        try:
            if self._has_torn_tail:
                self._cut_torn_tail()
            written = os.write(self._descriptor, line)
            if written != len(line):
                self._has_torn_tail = True
                self._cut_torn_tail()
        except OSError as error:
            raise _not_recorded(self.path, error) from error
        if written != len(line):
            raise _not_recorded(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        self.size += written

    def waiting(self, lines_max: int, bytes_max: int) -> tuple[list[bytes], int]:
        """Return the next whole lines that were not sent, and the offset behind them.

        A line without its end was cut off by a crash while it was written: nobody was told that it
        was recorded.
        """
        block = os.pread(self._descriptor, bytes_max, self.sent)
        lines = block.split(b"\n")[:-1][:lines_max]
        return lines, self.sent + sum(len(line) + 1 for line in lines)

    def mark_sent(self, offset: int) -> None:
        """Remember that the server has everything before the offset.

        Losing this mark is harmless: the events are sent again, and the server knows their ids. So
        a disk too full for it must not hold up the sending that makes room.
        """
        self.sent = offset
        with suppress(OSError):
            self._sent_path.write_bytes(offset.to_bytes(_OFFSET_BYTES))

    def sync(self) -> None:
        """Force what was appended through to the disk, so that it outlives the machine too."""
        size = self.size
        if self._synced == size:
            return
        os.fsync(self._descriptor)
        if not self._synced:
            _sync_folder(self.path.parent)
        self._synced = size

    def delete(self) -> None:
        """Remove the segment; all of it was sent."""
        self.path.unlink(missing_ok=True)
        self._sent_path.unlink(missing_ok=True)
        self._close()

    def release(self) -> None:
        """Close the segment and leave it to whoever finds it; an empty one is removed."""
        lines, _ = self.waiting(1, LINE_BYTES_MAX + 1)
        if lines:
            self._close()
        else:
            self.delete()

    def forget(self) -> None:
        """Close the descriptor that a forked child inherited; the lock stays with its parent."""
        with suppress(OSError):
            self._close()

    def _close(self) -> None:
        # first forgotten, then closed: a child forked in between must not close another's file
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def _cut_torn_tail(self) -> None:
        os.ftruncate(self._descriptor, self.size)
        self._has_torn_tail = False

    def _read_sent(self) -> int:
        """Return the mark, or 0 for one that cannot be: sending twice is harmless, less is not."""
        try:
            mark = self._sent_path.read_bytes()
        except OSError:
            return 0
        offset = int.from_bytes(mark)
        if len(mark) != _OFFSET_BYTES or not 0 < offset <= self.size:
            return 0
        return offset if os.pread(self._descriptor, 1, offset - 1) == b"\n" else 0


class Spool:
    """What this process has on disk: one segment that is appended to, and those before it.

    The lock guards everything here; whoever calls ``append`` holds it already.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.settled = threading.Condition(self.lock)
        self.recorded = 0
        self.refused = 0
        self.appended_bytes = 0
        self.settled_bytes = 0
        self._open: Segment | None = None
        self._sealed: deque[Segment] = deque()
        self._adopted: Segment | None = None

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were appended and did not reach the server yet."""
        return self.appended_bytes - self.settled_bytes

    def append(self, line: bytes) -> None:
        """Append one line; when this returns, it outlives the process.

        Raises:
            SpoolFull: there is no room.
        """
        size = len(line)
        try:
            if self.appended_bytes - self.settled_bytes + size > SPOOL_BYTES_MAX:
                raise SpoolFull(
                    f"{self.folder}: {SPOOL_BYTES_MAX} bytes wait to be sent, the most that may; "
                    "the event was not recorded"
                )
            segment = self._open
            if segment is None or segment.size + size > SEGMENT_BYTES_MAX:
                segment = self._begin_segment()
            segment.append(line)
        except SpoolFull:
            self.refused += 1
            raise
        self.recorded += 1
        self.appended_bytes += size

    def next_segment(self) -> Segment | None:
        """Return the segment to send from, to which nothing is appended any more."""
        with self.lock:
            if not self._sealed and self._open is not None and self._open.size:
                self._sealed.append(self._open)
                self._open = None
            return self._sealed[0] if self._sealed else None

    def settle(self, size: int) -> None:
        """Note that so many bytes of this process's own need not be sent any more."""
        with self.settled:
            self.settled_bytes += size
            self.settled.notify_all()

    def drop(self, segment: Segment) -> None:
        """Remove a segment of which all was sent."""
        segment.delete()
        with self.lock:
            self._sealed.remove(segment)

    def orphans(self) -> Generator[Segment]:
        """Return segments that processes which are gone left behind, each locked until the next.

        What is left of each is released; what could not be removed before is.
        """
        own = {segment.path for segment in self._held()}
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if path in own:
                continue
            self._adopted = Segment.adopt(path)
            if self._adopted is not None:
                try:
                    yield self._adopted
                finally:
                    self._adopted.release()
                    self._adopted = None
        for mark in self.folder.glob(f"*{_SENT_SUFFIX}"):
            if not mark.with_suffix(_SUFFIX).exists():
                with suppress(OSError):  # another process's, or another user's
                    mark.unlink()

    def sync(self) -> None:
        """Force what was appended through to the disk."""
        for segment in self._held():
            segment.sync()

    def release(self) -> None:
        """Leave what was not sent to whoever finds it."""
        for segment in self._held():
            segment.release()

    def forget(self) -> None:
        """Close what a forked child inherited: it is its parent's."""
        for segment in (*self._sealed, self._open, self._adopted):
            if segment is not None:
                segment.forget()

    def _held(self) -> list[Segment]:
        with self.lock:
            return [*self._sealed, *([self._open] if self._open is not None else [])]

    def _begin_segment(self) -> Segment:
        if self._open is not None:
            self._sealed.append(self._open)
            self._open = None
        self._open = Segment.create(self.folder)
        return self._open


def append_whole(path: Path, text: bytes) -> None:
    """Append to a file that several processes share: all of it, or nothing.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if os.write(descriptor, text) != len(text):
            os.ftruncate(descriptor, size)
            raise SpoolFull(f"{path}: the disk is full")
    finally:
        os.close(descriptor)


def _not_recorded(path: Path, error: OSError) -> SpoolFull:
    return SpoolFull(error.errno, f"{error.strerror}; the event was not recorded", str(path))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
