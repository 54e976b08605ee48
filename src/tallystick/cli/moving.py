"""`tallystick migrate-database`."""

from __future__ import annotations

import typer

from tallystick.cli.output import console, error_console, print_json
from tallystick.cli.session import InputError, log_warnings, settings


def migrate_database(
    source: str = typer.Option(..., "--from", help="The file: sqlite:///PATH."),
    target: str = typer.Option(..., "--to", help="An empty database: postgresql://..."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Copy a SQLite installation into PostgreSQL, and compare both to the last event and report.

    Stop every server and worker on the file first; while it is copied nobody can write to it.
    Killed, it goes on where it was when it is run again. The target can only be used when all of it
    is there and equal; the file stays as it is. Exits 1 if anything differs.

    Example: `tallystick migrate-database --from sqlite:///tallystick.db --to postgresql://db/tally`
    """
    import msgspec
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from tallystick.wiring import move_database

    log_warnings()
    found = msgspec.structs.replace(settings(), database_url=source)
    if found.is_postgres or not msgspec.structs.replace(found, database_url=target).is_postgres:
        raise InputError("bad_address", "--from takes sqlite:///PATH, --to postgresql://...")
    if not found.sqlite_path().exists():
        raise InputError("no_database", f"there is no database {found.sqlite_path()}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=error_console()) as progress:
        tasks = {}

        def note(table: str, done: int, count: int) -> None:
            if table not in tasks:
                tasks[table] = progress.add_task(table, total=count)
            progress.update(tasks[table], completed=done)

        moved, differences = move_database(found, target, note)
    if as_json:
        print_json({"rows": moved.rows, "rows_resumed": moved.resumed, "differences": differences})
    else:
        for table, count in moved.rows.items():
            console().print(f"{table}: {count:,}")
        for difference in differences:
            console().print(difference, markup=False)
        console().print(
            f"{sum(moved.rows.values()):,} rows, {moved.resumed:,} of them in an earlier run; "
            f"{len(differences)} differences"
        )
    if differences:
        raise typer.Exit(1)
