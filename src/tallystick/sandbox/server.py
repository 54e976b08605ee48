"""Serving the sandbox: one process, one socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from tallystick.sandbox.application import Sandbox
from tallystick.sandbox.connection import CuttableProtocol
from tallystick.sandbox.state.persistence import read_state
from tallystick.sandbox.wallclock import WallClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tallystick.sandbox.settings import Settings


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # the protocol is named so that the event loop knows it as TCP and turns Nagle's delay off:
    # an answer is two writes, and the second would wait 40 ms for the client's acknowledgement
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # accepted connections inherit it; without it each answer's second packet waits for an ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def serve(
    listener: socket.socket,
    settings: Settings,
    ready: Callable[[], None],
    state: Path | None = None,
) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT; ``ready`` is called once it answers.

    Raises:
        StateError: the state file cannot be used.
    """
    if state is not None:
        read_state(state)
    application = Sandbox(settings, WallClock(), state)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(listener, application, ready))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the fastest event loop that the platform has."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _serve(listener: socket.socket, application: Sandbox, ready: Callable[[], None]) -> None:
    config = uvicorn.Config(
        application,
        http=CuttableProtocol,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=3,
        timeout_keep_alive=120,
        server_header=False,
    )
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, lambda: setattr(server, "should_exit", True))
    if server.started:
        ready()
    await serving
