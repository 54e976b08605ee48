"""One SQLite file: a writer thread that shares commits, and readers beside it."""

from __future__ import annotations

import json
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tallystick.ports.errors import (
    PortError,
    StoreBusy,
    StoreUnavailable,
    StoreUnusable,
)
from tallystick.storage.sqlite.archived_events import StoreConnection
from tallystick.storage.sqlite.statements import statements
from tallystick.storage.sqlite.write_turns import WriteTurns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tallystick.ports.archive import Archive

A = TypeVar("A")
T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT_MS = 5_000
"""How long another process may hold the write lock before a write is given up."""

GROUP_MAX = 256
"""Pieces of work in one commit: bounds how long the first of them waits for the last."""

CAREFUL_GROUPS = 4_096
"""Groups in which each piece has a savepoint, after one that had to be undone as a whole: to run it
again, and to read what was remembered, costs more than they do."""

QUEUE_MAX = 4_096
"""Pieces of work that wait for the writer; more is refused, because waiting would not end."""

READERS_MAX = 8
"""Connections kept for reading; more readers at once get connections that are closed after use."""

CACHE_KIB = 16_384
"""Page cache of the writer."""

CHECKPOINT_SECONDS = 1
"""How long changes gather in the write-ahead log before they are copied into the file: a page that
many commits change is then copied once."""

CHECKPOINT_PAGES = 1_000
"""Pages in the log from which on the writer is asked to let it begin anew."""

LOG_BYTES_MAX = 64 * 1024 * 1024
"""What is kept of a log that grew beyond this, because a long reading held it: it is written anew
from its start, and writing over what is there is made durable faster than growing."""

STATEMENTS_MAX = 256
"""Prepared statements that a connection keeps."""


Together = Callable[[sqlite3.Connection, "Sequence[A]"], list[T]]


class _Submission(NamedTuple):
    together: Together[Any, object]
    argument: object
    future: Future[object]


def _each(connection: sqlite3.Connection, works: Sequence[Work[T]]) -> list[T]:
    return [work(connection) for work in works]


class SqliteDatabase:
    """A database file that is open.

    One thread writes. It takes all work that waits, runs it in one transaction, commits once, and
    only then completes the futures: whoever got an answer has it durably (WAL,
    ``synchronous=FULL``). A piece that fails is undone alone.
    """

    def __init__(self, path: Path, archive: Callable[[], Archive]) -> None:
        self.path = path
        self._archive = archive
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(READERS_MAX)
        self._work: queue.Queue[_Submission | None] = queue.Queue(QUEUE_MAX)
        self._submitting = threading.Lock()
        self._is_closed = False
        self._on_failed_commit: list[Callable[[], None]] = []
        self._careful_groups = 0
        try:
            self._writer = self._connected()
            self._turns = WriteTurns(path)
        except (sqlite3.Error, OSError) as error:
            raise opening_failed(path, error) from error
        self._checkpoints = _Checkpoints(path)
        self._thread = threading.Thread(target=self._write_until_closed, name="sqlite-writer")
        self._thread.start()

    def statements(self, topic: str) -> dict[str, str]:
        """Return the statements of ``sql/TOPIC.sql`` by the names of their headings."""
        return statements(topic)

    def array(self, values: Sequence[int] | Sequence[str]) -> str:
        """Return values as one parameter: ``SELECT value FROM json_each(?)`` has them."""
        return json.dumps(values)

    def write(self, work: Work[T]) -> T:
        """Run the work in one transaction and return its result once that is durable.

        Raises:
            StoreUnavailable: nothing was stored; the same may succeed later.
        """
        return self.submit(work).result()

    def submit(self, work: Work[T]) -> Future[T]:
        """Run the work in the writer's next transaction; the future completes once it is durable.

        Raises:
            StoreBusy: too much work is waiting, or the database was closed.
        """
        return self.submit_with(_each, work)

    def submit_with(self, together: Together[A, T], argument: A) -> Future[T]:
        """Have the writer call this with all arguments that wait for it, in its next transaction;
        it returns a result for each. Where it raises with several, the whole transaction is
        undone, and each of them is tried alone.

        Raises:
            StoreBusy: too much work is waiting, or the database was closed.
        """
        future: Future[T] = Future()
        with self._submitting:  # so that nothing is queued behind the closing mark
            if self._is_closed:
                raise StoreBusy("the database is being closed; nothing was stored")
            self._enqueue(_Submission(together, argument, future))  # type: ignore[arg-type]  # one queue, all result types
        return future

    def _enqueue(self, submission: _Submission) -> None:
        try:
            self._work.put_nowait(submission)
        except queue.Full:
            raise StoreBusy(f"{QUEUE_MAX} writes are waiting; slow down and repeat") from None

    def on_failed_commit(self, forget: Callable[[], None]) -> None:
        """Have this called, in the writer's thread, whenever a commit failed: whoever remembers
        what it wrote must forget it.
        """
        self._on_failed_commit.append(forget)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Return a connection that sees one snapshot until the block ends."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connected(read_only=True)
        try:
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            raise translated(error) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            try:
                self._idle.put_nowait(connection)
            except queue.Full:
                connection.close()

    def _connected(self, *, read_only: bool = False) -> StoreConnection:
        connection = connect(self.path, read_only=read_only)
        connection.archive = self._archive
        return connection

    def close(self) -> None:
        """Finish the work that waits, then close every connection."""
        with self._submitting:
            if self._is_closed:
                return
            self._is_closed = True
        self._checkpoints.stop()
        self._work.put(None)
        self._thread.join()
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _write_until_closed(self) -> None:
        group: list[_Submission] = []
        is_open = True
        while is_open:
            is_open = self._collect(group)
            if group:
                self._commit(group)
            group.clear()
        self._writer.close()
        self._turns.close()

    def _collect(self, group: list[_Submission]) -> bool:
        """Wait for work and take what has gathered; tell whether to go on."""
        submission = self._work.get()
        while submission is not None:
            if submission.future.set_running_or_notify_cancel():
                group.append(submission)
            if len(group) == GROUP_MAX:
                return True
            try:
                submission = self._work.get_nowait()
            except queue.Empty:
                return True
        return False

    def _commit(self, group: list[_Submission]) -> None:
        outcomes: list[object] = []
        try:
            with self._turns.turn():
                self._writer.execute("BEGIN IMMEDIATE")
                outcomes = self._attempt_all(group)
                if self._writer.in_transaction:
                    self._writer.execute("COMMIT")
        except Exception as error:  # the writer outlives whatever happens to one commit
            self._roll_back()
            for forget in self._on_failed_commit:
                forget()
            failure = translated(error) if isinstance(error, sqlite3.Error) else error
            for submission in group:
                submission.future.set_exception(failure)
            return
        for submission, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                submission.future.set_exception(outcome)
            else:
                submission.future.set_result(outcome)
        self._checkpoints.committed(self._writer)

    def _attempt_all(self, group: list[_Submission]) -> list[object]:
        """Run the pieces of a transaction; return the result or the failure of each.

        A savepoint copies each page that is changed. So pieces that can be done together have none;
        where they fail all is undone, and done again with savepoints, as groups are for a while
        then.
        """
        if len(group) == 1:
            return [self._attempt_alone(group[0])]
        if self._careful_groups:
            self._careful_groups -= 1
        else:
            try:
                return self._attempt_together(group)
            except Exception:  # whose it is comes to light below
                self._careful_groups = CAREFUL_GROUPS
                self._roll_back()
                for forget in self._on_failed_commit:
                    forget()
                self._writer.execute("BEGIN IMMEDIATE")
        return [self._attempt(submission) for submission in group]

    def _attempt_together(self, group: list[_Submission]) -> list[object]:
        outcomes: list[object] = []
        for together, submissions in groupby(group, attrgetter("together")):
            if together is _each:
                outcomes += map(self._attempt, submissions)
            else:
                arguments = [submission.argument for submission in submissions]
                outcomes += together(self._writer, arguments)
        return outcomes

    def _attempt(self, submission: _Submission) -> object:
        """Run one piece; return its result or its failure, which undoes this piece alone."""
        self._writer.execute("SAVEPOINT piece")
        try:
            (outcome,) = submission.together(self._writer, [submission.argument])
        except Exception as error:  # it belongs to the caller, whose future gets it
            if not self._writer.in_transaction:
                raise  # SQLite gave the whole transaction up (disk full, I/O error)
            self._writer.execute("ROLLBACK TO piece")
            outcome = translated(error) if isinstance(error, sqlite3.Error) else error
        self._writer.execute("RELEASE piece")
        return outcome

    def _attempt_alone(self, submission: _Submission) -> object:
        """Run the only piece of a transaction, without a savepoint: the whole transaction can be
        undone for it.
        """
        try:
            (outcome,) = submission.together(self._writer, [submission.argument])
        except Exception as error:
            if not self._writer.in_transaction:
                raise
            self._writer.execute("ROLLBACK")
            return translated(error) if isinstance(error, sqlite3.Error) else error
        return outcome

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")


class _Checkpoints:
    """Copies the write-ahead log into the file, in a thread of its own: no commit waits for it.

    The log begins anew when a commit finds all of it copied. While commits follow each other that
    would never be: so when the thread has copied the bulk, the writer copies what came meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_due = threading.Event()
        self._is_rest_left = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._copy_until_stopped, name="sqlite-checkpoints")
        self._thread.start()

    def committed(self, writer: sqlite3.Connection) -> None:
        """Take note of a commit; the writer's thread calls it, after it gave the answers."""
        if self._is_rest_left:
            self._is_rest_left = False
            _checkpoint(writer)
        elif not self._is_due.is_set():
            self._is_due.set()

    def stop(self) -> None:
        """Stop the thread; what is not copied yet is when the last connection closes."""
        self._stopping.set()
        self._is_due.set()
        self._thread.join()

    def _copy_until_stopped(self) -> None:
        connection = connect(self._path)
        while not self._stopping.wait(CHECKPOINT_SECONDS):
            self._is_due.wait()
            self._is_due.clear()
            if _checkpoint(connection) > CHECKPOINT_PAGES:
                _checkpoint(connection)
                self._is_rest_left = True
        connection.close()


def _checkpoint(connection: sqlite3.Connection) -> int:
    """Copy what can be copied without waiting for anybody; return the log's length in pages."""
    try:
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:  # the disk is full, say: commits go on while the log has room
        return 0
    return int(pages)


def connect(path: Path, *, read_only: bool = False) -> StoreConnection:
    """Open the file as every part of Tallystick does: WAL, durable and explicit transactions."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_MAX,
        factory=StoreConnection,
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES_MAX}")
    if read_only:
        connection.execute("PRAGMA query_only=ON")
    else:
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute("PRAGMA secure_delete=OFF")  # zeroing what is replaced costs a fifth
        connection.execute("PRAGMA temp_store=MEMORY")  # what undoes a savepoint is no file
    return connection


def opening_failed(path: Path, error: sqlite3.Error | OSError) -> PortError:
    """Return the error for a file that cannot be opened, with the reason that its user can mend."""
    why = ""
    if not path.parent.is_dir():
        why = f"; there is no folder {path.parent}"
    elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
        why = f"; the user {os.geteuid()} cannot write the file"
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        why = f"; the user {os.geteuid()} cannot make files in {path.parent}, and it needs some"
    return StoreUnusable(f"{path} cannot be opened as a SQLite database: {error}{why}")


def translated(error: sqlite3.Error) -> PortError:
    """Return the port's error for one of SQLite's, by what the caller can do about it."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError):
        return StoreUnavailable(f"the database could not do it now ({text}); nothing was stored")
    return StoreUnusable(f"the database refused: {text}")
