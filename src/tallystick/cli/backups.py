"""`tallystick backup` and `tallystick restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import InputError, settings

if TYPE_CHECKING:
    from tallystick.config import Settings
    from tallystick.storage.sqlite.backup import Copied


def backup(
    file: Path = typer.Argument(..., help="The new file; nothing is replaced."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Copy the database, while it is in use, to a file, and check the copy.

    Example: `tallystick backup tallystick-monday.db`
    """
    from tallystick.wiring import back_up_database

    found = _sqlite_settings()
    if not found.sqlite_path().exists():
        raise InputError("no_database", f"there is no database {found.sqlite_path()}")
    _show(back_up_database(found, file), file, as_json=as_json)


def restore(
    file: Path = typer.Argument(..., help="A backup."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Make the database out of a backup; there must be none yet.

    Example: `tallystick restore tallystick-monday.db`
    """
    from tallystick.wiring import restore_database

    if not file.is_file():
        raise InputError("no_file", f"{file} is not a file")
    found = _sqlite_settings()
    _show(restore_database(found, file), found.sqlite_path(), as_json=as_json)


def _sqlite_settings() -> Settings:
    """Return the settings.

    Raises:
        InputError: they name PostgreSQL, which has ways of its own.
    """
    found = settings()
    if found.is_postgres:
        raise InputError(
            "not_supported",
            f"{found.database_name} is a PostgreSQL database: copy it with pg_dump and pg_restore, "
            "or keep base backups and the write-ahead log for point-in-time recovery; this command "
            "copies SQLite files",
        )
    return found


def _show(copied: Copied, path: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(path), **copied._asdict()})
    else:
        console().print(
            f"{path}: {copied.events:,} events, schema version {copied.schema_version}, "
            f"{copied.size_bytes:,} bytes, checked",
            markup=False,
        )
