"""Numbered migrations: forward only, checksummed, one SQL file each."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from tallystick.ports.errors import StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Migration(NamedTuple):
    """One step of the schema; ``checksum`` is that of its text."""

    number: int
    name: str
    sql: str
    checksum: str


def read_migrations(backend: str) -> tuple[Migration, ...]:
    """Return every migration of a backend in this version, in order."""
    folder = files(f"tallystick.storage.{backend}").joinpath("migrations")
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".sql"):
            sql = entry.read_text("utf-8")
            checksum = hashlib.sha256(sql.encode()).hexdigest()
            found.append(Migration(int(entry.name[:4]), entry.name, sql, checksum))
    return tuple(found)


def missing(known: Sequence[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """Return the migrations that a database lacks, given the checksums of those that it has.

    Raises:
        StoreUnusable: the database was made by a newer or an altered version.
    """
    for migration in known:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise StoreUnusable(
                f"migration {migration.name} was altered after this database applied it"
            )
    unknown = applied.keys() - {migration.number for migration in known}
    if unknown:
        raise StoreUnusable(
            f"the database has migration {max(unknown)}, which this version does not know: "
            "it was made by a newer version of Tallystick"
        )
    return [migration for migration in known if migration.number not in applied]
