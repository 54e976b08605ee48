"""`tallystick serve --api-processes N`: a server divided into processes.

The one that was started starts the others and does nothing else: no threads and no connections, so
that it can fork whenever one is needed. One stores, and runs the workers. The others take requests,
all from one listening socket, and have the one that stores write for them.

Each ends when the one it needs is gone, however that ended: its connection to it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import structlog
import uvloop  # noqa: F401 - what a process loads before it forks is not loaded again in each

from tallystick.api import app, events_protocol  # noqa: F401 - as above
from tallystick.cli.serving import (
    SHUTDOWN_SECONDS,
    announce,
    run_server,
    server_of,
    spare_memory,
)
from tallystick.cli.works import works_of
from tallystick.ports.errors import StoreUnavailable
from tallystick.wiring import Tallystick, open_beside_writer
from tallystick.workers.background import Background

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

    from tallystick.config import Settings

RESTART_SECONDS = 0.5
"""How long it takes to start a process in the place of one that ended: one that cannot start must
not take the machine."""

KILL_AFTER_SECONDS = SHUTDOWN_SECONDS + 10
"""How long a process may take to answer what it has begun when it is told to end."""

_FORK = multiprocessing.get_context("fork")


class Division:
    """A server in several processes, seen from the one that starts them."""

    def __init__(
        self, settings: Settings, listener: socket.socket, count: int, *, with_workers: bool
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._count = count
        self._with_workers = with_workers
        self._control, self._stores_control = socket.socketpair()
        self._started, self._starting = socket.socketpair()
        self._told_to_end, self._telling = socket.socketpair()
        self._apis: dict[int, ForkProcess] = {}

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            StoreUnavailable: a process ended that the others cannot do without.
        """
        spare_memory()
        self._telling.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._telling.send(b"1"))
        store = _FORK.Process(target=self._store, name="store")
        store.start()
        self._stores_control.close()
        try:
            for _ in range(self._count):
                self._start_api()
            self._watch(store)
        finally:
            self._end(store)

    def _watch(self, store: ForkProcess) -> None:
        to_start = self._count
        while True:
            ready = wait([self._told_to_end, self._started, store.sentinel, *self._apis])
            if self._told_to_end in ready:
                return
            if store.sentinel in ready:
                raise StoreUnavailable("the process that stores has ended; the server ends too")
            if self._started in ready:
                to_start -= len(self._started.recv(self._count))
                if to_start == 0:
                    announce(self._listener)
            for sentinel in self._apis.keys() & set(ready):
                ended = self._apis.pop(sentinel)
                if to_start > 0:
                    raise StoreUnavailable("a process for requests ended before it listened")
                structlog.get_logger().error("api.ended", pid=ended.pid, exit_code=ended.exitcode)
                if not wait([self._told_to_end, store.sentinel], RESTART_SECONDS):
                    self._start_api()

    def _end(self, store: ForkProcess) -> None:
        """Have requests answered, then what is stored written; both end by themselves."""
        self._listener.close()
        for api in self._apis.values():
            api.terminate()
        for api in self._apis.values():
            api.join(KILL_AFTER_SECONDS)
            if api.is_alive():
                api.kill()
        self._control.close()
        store.join()

    def _start_api(self) -> None:
        ours, stores = socket.socketpair()
        socket.send_fds(self._control, [b"1"], [stores.fileno()])
        stores.close()
        api = _FORK.Process(target=self._api, args=(ours,), name="api")
        api.start()
        ours.close()
        self._apis[api.sentinel] = api

    def _store(self) -> None:
        """Store and work until nobody is at the other end of ``control`` any more."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # requests are answered before this ends
        self._control.close()
        self._listener.close()
        with Tallystick(self._settings) as product:
            service = product.write_service()
            background = Background(works_of(product) if self._with_workers else [])
            background.start()
            try:
                while received := socket.recv_fds(self._stores_control, 1, 1)[1]:
                    service.serve(socket.socket(fileno=received[0]))
            finally:
                service.stop()
                background.stop()

    def _api(self, connection: socket.socket) -> None:
        """Take requests until told to end, or until the process that stores is gone."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until there is a server that can end
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first one tells us
        self._control.close()

        def end() -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        def tell() -> None:
            self._starting.send(b"1")

        with open_beside_writer(self._settings, connection, end) as product:
            run_server(server_of(product), self._listener, tell)
