"""What a PostgreSQL server can run into: nothing acknowledged is lost, nothing counted twice."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING
from unittest import mock

import psycopg
import pytest

from tallystick.domain.events import EventStatus
from tallystick.ports.errors import StoreBusy, StoreOutcomeUnknown, StoreUnavailable
from tallystick.storage.postgres import database as database_module
from tallystick.storage.postgres.migrations import migrate
from tests.fixtures.patience import IN_PRODUCTION, PATIENCE_SECONDS
from tests.fixtures.postgres import postgres_server, shared_server
from tests.postgres.stores import (
    NOW,
    WAIT_SECONDS,
    Clients,
    Store,
    assert_each_once,
    event,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tallystick.storage.postgres.database import Connection
    from tests.fixtures.postgres import PostgresServer

IDLE = "idle_in_transaction_session_timeout"
MARK = b"marked"
_COMMITTED = b"COMMIT\0"
"""How the server says that it has committed."""


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    """A server on a new database."""
    with opened(postgres_url) as made:
        yield made


class CuttingProxy:
    """Stands between a client and the server, and cuts the line, if told to, at the commit of the
    transaction in which ``MARK`` is sent: before the server hears of it, or after it has done it.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.cut: str | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._pairs: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._sockets += [client, server]
            is_cut = threading.Event()
            for work in (self._to_server, self._to_client):
                thread = threading.Thread(target=work, args=(client, server, is_cut))
                thread.start()
                self._pairs.append(thread)

    def _to_server(
        self, client: socket.socket, server: socket.socket, is_cut: threading.Event
    ) -> None:
        since_commit = b""
        while sent := _received(client):
            since_commit += sent
            if b"COMMIT" in sent:
                if MARK in since_commit and self.cut is not None:
                    when, self.cut = self.cut, None
                    if when == "before":
                        break
                    is_cut.set()
                since_commit = b""
            _send(server, sent)
        _end(client, server)

    def _to_client(
        self, client: socket.socket, server: socket.socket, is_cut: threading.Event
    ) -> None:
        told = b""
        while answer := _received(server):
            told = told[-len(_COMMITTED) :] + answer
            if is_cut.is_set() and _COMMITTED in told:  # answers to what came before are passed on
                break
            _send(client, answer)
        _end(client, server)

    def close(self) -> None:
        """Stop; connections end when either side does."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._pairs:
            thread.join()
        for each in self._sockets:
            each.close()


def _received(side: socket.socket) -> bytes:
    try:
        return side.recv(1 << 16)
    except OSError:
        return b""


def _send(side: socket.socket, what: bytes) -> None:
    with suppress(OSError):  # it has left: the next thing received is its end
        side.sendall(what)


def _end(*sides: socket.socket) -> None:
    for side in sides:
        with suppress(OSError):  # the other thread was faster
            side.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(url: str) -> Iterator[tuple[CuttingProxy, str]]:
    """Return a proxy, and the address of a database by way of it."""
    proxy = CuttingProxy(shared_server().port)
    try:
        yield proxy, url.replace(f":{shared_server().port}/", f":{proxy.port}/")
    finally:
        proxy.close()


@pytest.mark.parametrize(
    ("when", "then"),
    [("before", EventStatus.ACCEPTED), ("after", EventStatus.DUPLICATE)],
)
def test_a_connection_lost_in_a_commit_leaves_the_outcome_open(
    postgres_url: str, when: str, then: EventStatus
) -> None:
    with proxied(postgres_url) as (proxy, url), opened(url) as store:
        store.events.append([event("first")], NOW).result()
        pair = [event(f"{MARK.decode()}-{name}") for name in "ab"]
        proxy.cut = when
        with pytest.raises(StoreOutcomeUnknown, match="send the same again"):
            store.events.append(pair, NOW).result()
        again = store.events.append(pair, NOW).result()
        assert again == [then, then]
        assert (store.events.count(), store.total()) == (3, Decimal(3))
        assert store.findings() == []


def test_terminated_connections_cost_no_event(store: Store) -> None:
    name = store.database.url.rpartition("/")[2]
    with Clients(store) as clients:
        for _ in range(5):
            clients.wait_for(60)
            shared_server().execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
        clients.wait_for(60)
    assert_each_once(store, clients)


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """A server that may be ended, as durable as in production."""
    monkeypatch.setattr(database_module, "CONNECTION_WAIT_SECONDS", WAIT_SECONDS)
    with postgres_server() as server:
        server.execute("CREATE DATABASE product")
        migrate(server.url("product"), 0)
        yield server


def test_a_killed_server_process_costs_no_event(own_server: PostgresServer) -> None:
    """PostgreSQL cuts everybody off then and recovers from its log."""
    with opened(own_server.url("product")) as store:
        with Clients(store) as clients:
            for _ in range(2):
                clients.wait_for(100)
                ((backend,),) = own_server.execute(
                    "SELECT pid FROM pg_stat_activity WHERE datname = 'product'"
                    " AND backend_type = 'client backend' LIMIT 1"
                )
                own_server.kill_one(int(backend))
            clients.wait_for(100)
        assert_each_once(store, clients)


def test_a_restarted_server_is_found_again(own_server: PostgresServer) -> None:
    with opened(own_server.url("product")) as store:
        with Clients(store) as clients:
            clients.wait_for(100)
            own_server.kill()
            clients.wait_for_a_refusal()
            own_server.start()
            clients.wait_for(100)
        assert_each_once(store, clients)


def test_a_server_that_is_away_is_said_to_be(own_server: PostgresServer) -> None:
    with opened(own_server.url("product")) as store:
        own_server.stop()
        with (
            mock.patch.object(store.database._pool, "timeout", 0.5),
            pytest.raises(StoreUnavailable, match=r"(?s)refused.*nothing was stored") as away,
        ):
            store.events.append([event("a")], NOW).result()
        assert away.type is StoreUnavailable
        own_server.start()
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while (again := store.events.append([event("a")], NOW)).exception() is not None:
            assert time.monotonic() < give_up_at  # its last try may have been just before
        assert again.result() == [EventStatus.ACCEPTED]


def test_a_process_that_uses_all_its_connections_says_that_it_is_busy(store: Store) -> None:
    with ExitStack() as readers:
        for _ in range(database_module.CONNECTIONS_MAX):
            readers.enter_context(store.database.read())
        with (
            mock.patch.object(store.database._pool, "timeout", 0.5),
            pytest.raises(StoreBusy, match="nothing was stored"),
        ):
            store.events.append([event("a")], NOW).result()
    assert store.events.append([event("a")], NOW).result() == [EventStatus.ACCEPTED]


def test_somebody_elses_lock_costs_an_error_and_not_for_ever(postgres_url: str) -> None:
    impatient = {**database_module.SESSION, "lock_timeout": "1s"}
    with (
        mock.patch.object(database_module, "SESSION", impatient),
        opened(postgres_url) as store,
        closing(psycopg.connect(postgres_url)) as stranger,
    ):
        store.events.append([event("a")], NOW).result()
        stranger.execute("SELECT * FROM usage_rollups FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="somebody else's transaction"):
            store.events.append([event("b")], NOW).result()
        stranger.rollback()
        assert store.events.append([event("b")], NOW).result() == [EventStatus.ACCEPTED]
        assert store.findings() == []


def test_a_process_that_freezes_in_a_transaction_lets_the_others_go_on(postgres_url: str) -> None:
    as_in_production = {name: IN_PRODUCTION[name] for name in [IDLE]}
    with (
        mock.patch.dict(database_module.SESSION, as_in_production),
        opened(postgres_url) as frozen,
    ):
        frozen.events.append([event("a")], NOW).result()
        holds_lock = threading.Event()
        others_are_done = threading.Event()

        def freeze(connection: Connection) -> None:
            row = connection.execute(f"SHOW {IDLE}").fetchone()
            assert row == ("1min",)
            connection.execute(f"SET LOCAL {IDLE} = '1s'")
            connection.execute("SELECT * FROM usage_rollups FOR UPDATE")
            holds_lock.set()
            others_are_done.wait(PATIENCE_SECONDS)
            connection.execute("SELECT 1")

        waiting = frozen.database.submit(freeze)
        assert holds_lock.wait(PATIENCE_SECONDS)
        with opened(postgres_url) as other:
            assert other.events.append([event("b")], NOW).result() == [EventStatus.ACCEPTED]
            others_are_done.set()
            with pytest.raises(StoreUnavailable):
                waiting.result()
            assert other.findings() == []


def test_transactions_in_each_others_way_are_repeated(store: Store) -> None:
    """Two that lock the same rows in opposite order: the server undoes one, and both succeed."""
    name = "INSERT INTO event_corrections (seq, actor, reason, corrected_at)"
    store.database.write(lambda c: c.execute(f"{name} VALUES (1, 'a', '', 0), (2, 'a', '', 0)"))
    both_hold_one = threading.Barrier(2)
    runs: list[int] = []

    def lock(first: int, second: int) -> Callable[[Connection], int]:
        def work(connection: Connection) -> int:
            runs.append(first)
            connection.execute(f"SELECT 1 FROM event_corrections WHERE seq = {first} FOR UPDATE")
            if len(runs) <= 2:
                both_hold_one.wait(PATIENCE_SECONDS)
            connection.execute(f"SELECT 1 FROM event_corrections WHERE seq = {second} FOR UPDATE")
            return first

        return work

    futures = [store.database.submit(lock(*pair)) for pair in ((1, 2), (2, 1))]
    assert [future.result(PATIENCE_SECONDS) for future in futures] == [1, 2]
    assert len(runs) >= 3  # more where the undone one was back before the other went on


def test_a_serialization_failure_is_repeated(store: Store) -> None:
    """Each of two counts the other's rows and writes one: only one after the other makes 0, 1."""
    both_have_read = threading.Barrier(2)
    runs: list[int] = []

    def count_and_add(connection: Connection) -> int:
        runs.append(1)
        row = connection.execute("SELECT COUNT(*) FROM event_corrections").fetchone()
        assert row is not None
        if len(runs) <= 2:
            both_have_read.wait(PATIENCE_SECONDS)
        connection.execute(
            "INSERT INTO event_corrections (seq, actor, reason, corrected_at)"
            " VALUES (1, 'a', '', 0)"
        )
        return int(row[0])

    found: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(store.database.write(count_and_add, serializable=True))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert sorted(found) == [0, 1]
    assert len(runs) >= 3  # more where the undone one was back before the other had ended


def test_a_commit_that_is_cancelled_before_the_standby_has_it_is_not_acknowledged() -> None:
    with postgres_server() as server:
        server.execute("CREATE DATABASE product")
        migrate(server.url("product"), 0)
        with opened(server.url("product")) as store:
            store.events.append([event("first")], NOW).result()
            server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            server.execute("SELECT pg_reload_conf()")
            cancel = (
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
            waiting = store.events.append([event("0")], NOW)
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            for number in count(1):
                while not waiting.done():
                    server.execute(cancel)
                if waiting.exception() is not None or time.monotonic() > give_up_at:
                    break
                waiting = store.events.append([event(str(number))], NOW)  # the setting comes soon
            with pytest.raises(StoreOutcomeUnknown, match="may have been stored"):
                waiting.result()
