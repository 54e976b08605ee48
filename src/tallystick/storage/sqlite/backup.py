"""Copies of a live SQLite file: consistent, checked, and put in place whole or not at all."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from tallystick.ports.errors import StoreUnusable
from tallystick.storage.sqlite.migrations import migrate
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    from pathlib import Path

_SQL = statements("backup")


class Copied(NamedTuple):
    """What a checked copy holds."""

    events: int
    schema_version: int
    size_bytes: int


def back_up(path: Path, target: Path) -> Copied:
    """Copy a database, which may be in use, to a new file; durable when it returns.

    The copy is one moment of the database: a reader's, which holds nobody up.

    Raises:
        StoreUnusable: the target is there already or cannot be written, or the copy is not sound.
    """
    if target.exists():
        raise StoreUnusable(f"{target} is there already; a backup replaces nothing")
    return _copy(path, target)


def restore(backup: Path, path: Path, now: int) -> Copied:
    """Make a database out of a backup, and bring it up to this version.

    Raises:
        StoreUnusable: there is a database already, or the backup is none or is not sound.
    """
    if path.exists():
        raise StoreUnusable(f"{path} is there already; move it away to restore another")
    copied = _copy(backup, path)
    return copied._replace(schema_version=migrate(path, now))


def _copy(source_path: Path, target: Path) -> Copied:
    if not target.parent.is_dir():
        raise StoreUnusable(f"{target} cannot be written: there is no folder {target.parent}")
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        source = sqlite3.connect(f"{source_path.resolve().as_uri()}?mode=ro", uri=True)
        copy = sqlite3.connect(unfinished, isolation_level=None)
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
            copied = _checked(copy, unfinished)
        finally:
            copy.close()
            source.close()
    except sqlite3.Error as error:
        unfinished.unlink(missing_ok=True)
        raise StoreUnusable(f"{source_path} could not be copied to {target}: {error}") from error
    except StoreUnusable:
        unfinished.unlink(missing_ok=True)
        raise
    _flush(unfinished)
    unfinished.rename(target)
    _flush(target.parent)
    return copied


def _checked(copy: sqlite3.Connection, path: Path) -> Copied:
    found = [row[0] for row in copy.execute("PRAGMA integrity_check(5)")]
    if found != ["ok"]:
        raise StoreUnusable(f"the copy is not sound: {'; '.join(found)}")
    events, schema_version = copy.execute(_SQL["copied"]).fetchone()
    return Copied(events, schema_version, path.stat().st_size)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
