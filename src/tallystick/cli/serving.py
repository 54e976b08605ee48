"""`tallystick init` and `tallystick serve`."""

from __future__ import annotations

import ctypes
import gc
import signal
import socket
import threading
from typing import TYPE_CHECKING

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import InputError, log_warnings, opened, settings
from tallystick.cli.works import works_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import uvicorn

    from tallystick.config import Settings
    from tallystick.wiring import Tallystick
    from tallystick.workers.background import Work

BACKLOG = 2_048

COLLECT_AFTER = 50_000
"""Objects made before Python looks for garbage in cycles: ingest makes many and no cycles, and at
the default of 700 looking for them takes a tenth of the time."""

SHUTDOWN_SECONDS = 10

KEEP_ALIVE_SECONDS = 120
"""How long a connection may be idle: longer than load balancers keep theirs (a minute, mostly), so
that the one who sends requests is the one who closes. A server that was kept from running for so
long closes a connection in which a request waits already, which then fails."""

_M_ARENA_MAX = -8  # as in glibc's malloc.h


def init(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Make the database, or bring an existing one up to this version.

    Example: `TALLYSTICK_DATABASE_URL=sqlite:///billing.db tallystick init`
    """
    from tallystick.wiring import Tallystick

    log_warnings()
    found = settings()
    with Tallystick(found) as product:
        version = product.installation.schema_version()
    name = found.database_name
    if as_json:
        print_json({"database": name, "schema_version": version})
    else:
        console().print(f"{name} is ready, schema version {version}", markup=False)


def serve(
    host: str | None = typer.Option(None, help="Where to listen; else TALLYSTICK_HOST."),
    port: int | None = typer.Option(None, help="0 takes a free port; else TALLYSTICK_PORT."),
    no_workers: bool = typer.Option(
        False, "--no-workers", help="Only the API; `tallystick worker` runs the workers."
    ),
    api_processes: int | None = typer.Option(
        None,
        help="Take requests in so many processes beside the one that stores (SQLite); "
        "else TALLYSTICK_API_PROCESSES.",
    ),
) -> None:
    """Run the API and the workers, in one process unless told otherwise, until SIGTERM or Ctrl-C.

    Prints `listening on http://HOST:PORT` when it is ready.

    Example: `tallystick serve --port 8787`
    """
    from tallystick.observability.logs import configure_logs

    configure_logs()
    found = settings()
    where = (host or found.host, found.port if port is None else port)
    count = found.api_processes if api_processes is None else api_processes
    if count:
        _check_divided(found, count)
        from tallystick.cli.api_processes import Division

        with opened():  # whatever is wrong with the database is said before anything starts
            listener = _listen(*where)
        Division(found, listener, count, with_workers=not no_workers).run()
        return
    with opened() as product:
        listener = _listen(*where)
        _run(product, listener, [] if no_workers else works_of(product))


def _check_divided(found: Settings, count: int) -> None:
    from tallystick.config import API_PROCESSES_MAX

    if not 0 <= count <= API_PROCESSES_MAX:
        raise InputError(
            "invalid_api_processes", f"--api-processes is {count}; 0 to {API_PROCESSES_MAX} can be"
        )
    if found.is_postgres:
        raise InputError(
            "api_processes_need_sqlite",
            "API processes share one SQLite file's writer; on PostgreSQL start several "
            "`tallystick serve` instead",
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # accepted connections inherit it; without it an answer's second packet waits 40 ms for an ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise InputError(
            "cannot_listen",
            f"cannot listen on {host}:{port}: {error.strerror or error}; --port names another",
        ) from error
    listener.listen(BACKLOG)
    return listener


def _run(product: Tallystick, listener: socket.socket, works: list[Work]) -> None:
    from tallystick.workers.background import Background

    background = Background(works)
    server = server_of(product)
    background.start()
    try:
        run_server(server, listener, lambda: announce(listener))
    finally:
        background.stop()


def spare_memory() -> None:
    """Have Python look for garbage less often, and not among what is loaded by now; and have all
    threads that are to be started allocate from one heap. With one each, as glibc has it, what one
    gives back the others cannot take: 13 MB while millions of events come in.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # of other C libraries, none
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def server_of(product: Tallystick) -> uvicorn.Server:
    """Return a server for the API over a product that is ready for events."""
    import uvicorn

    from tallystick.api.app import create_app
    from tallystick.api.events_protocol import EventsProtocol

    product.ingest.warm_up()
    spare_memory()
    return uvicorn.Server(
        uvicorn.Config(
            create_app(product),
            http=EventsProtocol,
            log_level="warning",
            access_log=False,
            lifespan="off",
            proxy_headers=False,  # nothing here asks who the client is
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


def run_server(
    server: uvicorn.Server, listener: socket.socket, on_started: Callable[[], None]
) -> None:
    """Serve until SIGTERM or Ctrl-C; ``on_started`` is called as soon as requests are taken."""

    def wait_and_tell() -> None:
        while not server.started and not server.should_exit:
            threading.Event().wait(0.01)
        on_started()

    threading.Thread(target=wait_and_tell, daemon=True, name="announce").start()
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[listener])


def announce(listener: socket.socket) -> None:
    """Say where the server listens."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"listening on http://{shown}:{port}")
