"""`tallystick demo`: an access log becomes 1,753 invoices, checked to the cent."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tallystick.cli.output import console
from tallystick.cli.session import InputError

if TYPE_CHECKING:
    from tallystick.cli.demo_run import Servers

EXAMPLE = Path("examples", "web_api")


def demo(
    keep: bool = typer.Option(False, "--keep", help="Leave the servers running."),
    example: Path | None = typer.Option(None, help="A folder with catalog.yaml, access.log.gz."),
    client: bool = typer.Option(
        False, "--client", help="Send the log with the client library instead of importing it."
    ),
    database_url: str | None = typer.Option(
        None, help="An empty PostgreSQL database, for two servers and two workers."
    ),
) -> None:
    """Bill a real access log through the sandbox, and compare every invoice with our own rating.

    Starts the sandbox and a server on free ports, with a new SQLite file; with --database-url two
    servers and two workers on that database. Exits 1 if any invoice differs.

    Example: `tallystick demo --keep`
    """
    from tallystick.cli.demo_run import DemoRun, start_servers
    from tallystick.observability.logs import configure_logs

    configure_logs("warning")
    folder = _example_folder(example)
    workplace = Path(tempfile.mkdtemp(prefix="tallystick-demo-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, workplace, ignore_errors=True)
        servers = start_servers(workplace, stack, database_url)
        with servers.product() as product:
            differing = DemoRun(servers, product, folder, through_client=client).run()
        if keep:
            stack.pop_all()
            _print_servers(servers)
    if differing:
        raise typer.Exit(1)


def _example_folder(given: Path | None) -> Path:
    """Return the example's folder: the given one, the checkout's, or that of the package."""
    package = Path(__file__).resolve().parents[1]
    candidates = [given] if given else [EXAMPLE, package.parents[1] / EXAMPLE, package / EXAMPLE]
    for candidate in candidates:
        if (candidate / "catalog.yaml").is_file():
            return candidate
    shown = ", ".join(str(candidate) for candidate in candidates)
    raise InputError("no_example", f"no catalog.yaml in {shown}; say --example FOLDER")


def _print_servers(servers: Servers) -> None:
    out = console()
    out.print()
    for process in servers.processes:
        out.print(f"{process.name:<12} {process.url} (process {process.pid})", soft_wrap=True)
    pids = " ".join(str(process.pid) for process in servers.processes)
    out.print(f"stop all: kill {pids}", soft_wrap=True)
    for name, value in servers.environment.items():
        out.print(f"export {name}={value}", soft_wrap=True, markup=False)
