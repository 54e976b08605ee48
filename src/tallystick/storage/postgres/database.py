"""One PostgreSQL database: a pool of connections, transactions that are repeated where they may be.

Several servers and workers share it. Nothing waits for ever: for a connection, for a lock of
somebody else's, for a statement, or for a peer that is gone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import psycopg
import structlog
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout

from tallystick.ports.errors import PortError, StoreBusy, StoreUnusable
from tallystick.storage.postgres.errors import RETRIED, is_undone, translated, unknown_outcome
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallystick.ports.archive import Archive

T = TypeVar("T")


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that knows where archived events are: opened when they are first needed."""

    archive: Callable[[], Archive]


Work = Callable[[Connection], T]

CONNECTIONS_MAX = 12
"""Connections of one process; who needs another waits for one."""

CONNECTION_WAIT_SECONDS = 10
"""How long a caller waits for a connection, one made anew included."""

RECONNECT_SECONDS = 4
"""How long the pool itself tries to replace a lost connection; the next caller starts it again, so
that pauses between attempts never grow long.
"""

WRITERS = 2
"""Threads that write for callers who do not wait: one prepares while the other commits."""

QUEUE_MAX = 4_096
"""Pieces of work that wait for a writer; more is refused, because waiting would not end."""

ATTEMPTS_MAX = 12
"""Attempts at a transaction that the server undid in favour of another one."""

SERVER_VERSION_MIN = 140_000
"""PostgreSQL 14."""

SESSION = {
    "lock_timeout": "5s",  # somebody else's long transaction costs an error, not for ever
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",  # ours: a process that froze lets go
    "plan_cache_mode": "force_custom_plan",  # plans look only at the partitions that are asked for
    "bytea_output": "hex",
    "TimeZone": "UTC",
}

CONNECTING = {
    "application_name": "tallystick",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",  # milliseconds until unanswered data means a lost connection
}
"""What an address does not say for itself."""

_DURABLE = frozenset({"on", "remote_apply"})
_SQL = statements("session")
_log = structlog.get_logger()


class _Submission(NamedTuple):
    work: Work[Any]
    future: Future[Any]


class PostgresDatabase:
    """A database that is open."""

    def __init__(self, url: str, archive: Callable[[], Archive]) -> None:
        self.url = url
        self._closing = threading.Lock()
        self._is_closed = False
        self._work: queue.Queue[_Submission | None] = queue.Queue(QUEUE_MAX)
        with connect(url) as connection:  # says what is wrong, which a pool would wait for
            _check_server(connection)
        self._archive = archive
        self._lent: set[Connection] = set()
        self._pool = ConnectionPool(
            url,
            connection_class=Connection,
            kwargs={**_missing_from(url), "autocommit": True},
            configure=_configure,
            min_size=1,
            max_size=CONNECTIONS_MAX,
            timeout=CONNECTION_WAIT_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
            open=True,
        )
        self._writers = [
            threading.Thread(target=self._write_until_closed, name=f"postgres-writer-{number}")
            for number in range(WRITERS)
        ]
        for writer in self._writers:
            writer.start()

    def statements(self, topic: str) -> dict[str, str]:
        """Return the statements of ``sql/TOPIC.sql`` by the names of their headings."""
        return statements(topic)

    def array(self, values: Sequence[int] | Sequence[str]) -> list[Any]:
        """Return values as one parameter: ``ANY(%s)`` has them."""
        return list(values)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Return a connection that sees one snapshot until the block ends, and writes nothing."""
        with self._begun("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as connection:
            try:
                yield connection
            except psycopg.Error as error:
                raise translated(error) from error

    def write(self, work: Work[T], *, serializable: bool = False) -> T:
        """Run the work in one transaction and return its result once that is durable.

        Each statement sees what was committed before it (READ COMMITTED): who reads and then writes
        locks what was read, or asks for ``serializable``. The work may run several times: it is
        repeated where the server undid it in favour of another transaction.

        Raises:
            StoreUnavailable: nothing was stored; the same may succeed later.
            StoreOutcomeUnknown: the connection was lost while it was committed.
        """
        begin = "BEGIN ISOLATION LEVEL SERIALIZABLE" if serializable else "BEGIN"
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                with self._begun(begin) as connection:
                    result = work(connection)
                    _commit(connection)
                    return result
            except psycopg.Error as error:
                if attempt == ATTEMPTS_MAX or not is_undone(error):
                    raise translated(error) from error
        raise AssertionError("the last attempt returns or raises")

    def submit(self, work: Work[T]) -> Future[T]:
        """Run the work as ``write`` does, in a thread of its own; for callers that cannot wait.

        Raises:
            StoreBusy: too much work is waiting, or the database was closed.
        """
        future: Future[T] = Future()
        with self._closing:  # so that nothing is queued behind the closing marks
            if self._is_closed:
                raise StoreBusy("the database is being closed; nothing was stored")
            try:
                self._work.put_nowait(_Submission(work, future))
            except queue.Full:
                raise StoreBusy(f"{QUEUE_MAX} writes are waiting; slow down and repeat") from None
        return future

    def close(self) -> None:
        """Finish the work that waits, then close every connection."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
        for _ in self._writers:
            self._work.put(None)
        for writer in self._writers:
            writer.join()
        self._pool.close()

    @contextmanager
    def _begun(self, begin: str) -> Iterator[Connection]:
        """Return a connection in a new transaction, which is rolled back unless it was ended."""
        connection = self._begin(begin)
        try:
            yield connection
        finally:
            if not connection.closed and connection.info.transaction_status in (
                TransactionStatus.INTRANS,
                TransactionStatus.INERROR,
            ):
                _roll_back(connection)
            self._give_back(connection)

    def _begin(self, begin: str) -> Connection:
        """Begin on a connection that lives: after a restart of the server all that wait are dead.

        Nothing was sent before, so that a lost connection is simply replaced.
        """
        for _ in range(CONNECTIONS_MAX):
            try:
                connection = self._pool.getconn()
            except PoolTimeout as error:
                raise self._none_came(error) from error
            self._lent.add(connection)
            try:
                connection.execute(begin)
            except psycopg.OperationalError:
                connection.close()
                self._give_back(connection)
                continue
            connection.archive = self._archive
            return connection
        raise translated(psycopg.OperationalError("every connection was lost"))

    def _give_back(self, connection: Connection) -> None:
        self._lent.discard(connection)
        self._pool.putconn(connection)

    def _none_came(self, error: PoolTimeout) -> PortError:
        """Return why no connection came: all are in use, or else what the server says to one more.

        The pool keeps to itself why it cannot replace a lost connection.
        """
        if len(self._lent) < CONNECTIONS_MAX:
            try:
                connect(self.url).close()
            except PortError as cause:
                return cause
        return translated(error)

    def _write_until_closed(self) -> None:
        while (submission := self._work.get()) is not None:
            work, future = submission
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self.write(work))
            except Exception as error:  # it belongs to the caller, whose future gets it
                future.set_exception(error)


def connect(url: str) -> Connection:
    """Open one connection as every part of Tallystick does, outside any pool.

    Raises:
        StoreUnavailable: the server does not answer.
        StoreUnusable: it refuses us, or the address is wrong.
    """
    try:
        connection = Connection.connect(url, autocommit=True, **_missing_from(url))
        _configure(connection)
    except psycopg.Error as error:
        raise _opening_failed(error) from error
    return connection


def _opening_failed(error: psycopg.Error) -> PortError:
    if isinstance(error, psycopg.ProgrammingError):
        return StoreUnusable(f"the address of the PostgreSQL database is wrong: {error}")
    return translated(error)


def _missing_from(url: str) -> dict[str, Any]:
    given = psycopg.conninfo.conninfo_to_dict(url)
    return {name: value for name, value in CONNECTING.items() if name not in given}


def _configure(connection: Connection) -> None:
    """Set what every session of ours relies on: durable commits first of all."""
    settings = dict(SESSION)
    row = connection.execute(_SQL["synchronous_commit"]).fetchone()
    if row is None or row[0] not in _DURABLE:
        settings["synchronous_commit"] = "on"
    for name, value in settings.items():
        connection.execute(_SQL["set"], (name, value))


def _check_server(connection: Connection) -> None:
    if connection.info.server_version < SERVER_VERSION_MIN:
        raise StoreUnusable(
            f"PostgreSQL {connection.info.server_version // 10_000} is too old; "
            f"{SERVER_VERSION_MIN // 10_000} or newer is needed"
        )
    (encoding,) = connection.execute(_SQL["encoding"]).fetchone() or ("",)
    if encoding != "UTF8":
        raise StoreUnusable(f"the database's encoding is {encoding}; make one with UTF8")
    for name, value in connection.execute(_SQL["unsafe_settings"]):
        _log.warning(
            "postgres.not_durable",
            setting=name,
            value=value,
            detail="what is acknowledged can be lost in a power cut; turn it on",
        )


def _commit(connection: Connection) -> None:
    """Commit, and make sure that it was one.

    A commit that an operator cancels while it waits for a standby is answered with success and a
    warning: it is not on the standby, so that nobody may be told that it is durable.
    """
    warnings: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.message_primary or "a warning")

    connection.add_notice_handler(note)
    try:
        status = connection.execute("COMMIT").statusmessage
    except RETRIED:
        raise
    except psycopg.OperationalError as error:
        raise unknown_outcome(error) from error
    finally:
        connection.remove_notice_handler(note)
    if warnings:
        raise unknown_outcome("; ".join(warnings))
    if status != "COMMIT":
        raise psycopg.InternalError(f"the transaction was not committed: {status}")


def _roll_back(connection: Connection) -> None:
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        connection.close()  # the server rolls back when it notices
