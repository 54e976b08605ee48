"""SQLite's migrations: forward only, checksummed, and upgrading what earlier versions wrote."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.config import Settings
from tallystick.domain.instants import parse_instant
from tallystick.ports.errors import StoreUnusable
from tallystick.storage.migration_files import Migration
from tallystick.storage.sqlite import migrations
from tallystick.wiring import Tallystick
from tests.fixtures.clock import FakeClock
from tests.migration.make_database import describe

DATABASES = sorted((Path(__file__).parent / "databases").glob("*.db.gz"))
BYTES_MAX = 300_000


def schema_of(path: Path) -> list[tuple[str, ...]]:
    """Return every table, index and trigger, however its text is laid out."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        tables = sorted(name for kind, name, _, _ in rows if kind == "table")
        columns = [
            (name, *map(str, column))
            for name in tables
            for column in connection.execute(f"PRAGMA table_xinfo({name})")
        ]
        indexes = [
            (name, *map(str, index[1:]))
            for name in tables
            for index in sorted(connection.execute(f"PRAGMA index_list({name})"), key=str)
        ]
    texts = sorted(
        (kind, name, table, re.sub(r'[\s"]+', " ", sql or "")) for kind, name, table, sql in rows
    )
    return [*texts, *columns, *indexes]


def put_in_place(monkeypatch: pytest.MonkeyPatch, known: list[Migration]) -> None:
    """Let the program have these migrations and no others."""
    monkeypatch.setattr(migrations, "migrations", lambda: tuple(known))


def test_a_fresh_schema_is_that_of_all_migrations_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, stepwise = tmp_path / "fresh.db", tmp_path / "stepwise.db"
    known = list(migrations.migrations())
    assert migrations.migrate(fresh, 0) == known[-1].number
    for number in range(1, len(known) + 1):
        with monkeypatch.context() as patch:
            put_in_place(patch, known[:number])
            assert migrations.migrate(stepwise, number) == known[number - 1].number
    assert schema_of(stepwise) == schema_of(fresh)
    assert migrations.migrate(fresh, 1) == known[-1].number  # nothing is left to be done


def test_migrations_are_numbered_without_gaps() -> None:
    known = migrations.migrations()
    assert [one.number for one in known] == list(range(1, len(known) + 1))
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", one.name) for one in known)


def test_a_migration_that_was_edited_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tallystick.db"
    migrations.migrate(path, 0)
    before = schema_of(path)
    known = list(migrations.migrations())
    known[2] = known[2]._replace(checksum="another")
    extra = Migration(99, "0099_later.sql", "CREATE TABLE later (id INTEGER) STRICT;", "sum")
    put_in_place(monkeypatch, [*known, extra])
    with pytest.raises(StoreUnusable, match=re.escape(f"{known[2].name} was altered")):
        migrations.migrate(path, 1)
    assert schema_of(path) == before  # and nothing else was done


def test_a_database_of_a_newer_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tallystick.db"
    migrations.migrate(path, 0)
    known = list(migrations.migrations())
    put_in_place(monkeypatch, known[:-1])
    with pytest.raises(StoreUnusable, match=rf"migration {known[-1].number}.*newer version"):
        migrations.migrate(path, 1)
    with pytest.raises(StoreUnusable, match="newer version"):
        Tallystick(Settings(database_url=f"sqlite:///{path}"))


def test_a_migration_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tallystick.db"
    migrations.migrate(path, 0)
    before = schema_of(path)
    known = list(migrations.migrations())
    broken = "CREATE TABLE later (id INTEGER) STRICT;\nINSERT INTO nowhere VALUES (1);\n"
    put_in_place(monkeypatch, [*known, Migration(99, "0099_later.sql", broken, "sum")])
    with pytest.raises(StoreUnusable, match="nowhere"):
        migrations.migrate(path, 1)
    assert schema_of(path) == before


@pytest.mark.parametrize("packed", DATABASES, ids=lambda path: path.name.removesuffix(".db.gz"))
def test_a_database_of_an_earlier_version_is_upgraded(packed: Path, tmp_path: Path) -> None:
    assert packed.stat().st_size < BYTES_MAX
    old, fresh = tmp_path / "old.db", tmp_path / "fresh.db"
    old.write_bytes(gzip.decompress(packed.read_bytes()))
    expected = json.loads(packed.with_name(packed.name.replace(".db.gz", ".json")).read_text())
    now = parse_instant(expected["now"])
    migrations.migrate(fresh, now)
    with Tallystick(Settings(database_url=f"sqlite:///{old}"), FakeClock(now)) as product:
        said = json.loads(json.dumps(describe(product, now)))
    assert {name: said[name] for name in expected} == expected
    assert expected["findings"] == []
    assert schema_of(old) == schema_of(fresh)


def test_there_is_a_database_to_upgrade() -> None:
    assert DATABASES
