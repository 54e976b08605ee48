"""``tallystick sandbox``: a Stripe that bills usage, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.session import InputError


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 12111,
    state: Annotated[
        Path | None, typer.Option(help="File that keeps the state; in memory when left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses ids and random faults.")] = 0,
) -> None:
    """Run a Stripe-compatible server for tests, demos and rehearsals.

    Example: tallystick sandbox --port 0 --seed 7
    """
    from tallystick.sandbox.server import open_socket, serve
    from tallystick.sandbox.settings import Settings
    from tallystick.sandbox.state.persistence import StateError

    try:
        listener = open_socket(host, port)
    except OSError as error:
        why = f"cannot listen on {host}:{port}: {error.strerror or error}; --port names another"
        typer.echo(why, err=True)
        raise typer.Exit(3) from None
    shown_host = f"[{host}]" if ":" in host else host
    address = f"http://{shown_host}:{listener.getsockname()[1]}"
    try:
        serve(listener, Settings(seed=seed), lambda: typer.echo(f"listening on {address}"), state)
    except StateError as error:
        raise InputError("bad_state_file", str(error)) from error
