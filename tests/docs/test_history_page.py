"""The page about the archive: its example runs, and its table of columns is the files'."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow.parquet

from tallystick.billing.archive_holds import HoldReason
from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import HOUR_US, parse_instant
from tallystick.ports.event_store import StoredEvent
from tallystick.storage.archive.parquet import ParquetArchive
from tests.fixtures.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PAGE = (ROOT / "docs" / "history.md").read_text("utf-8")
DAY = parse_instant("2015-05-18")


def written(folder: Path) -> Path:
    """Archive 30 events of two customers; return the file."""
    archive = ParquetArchive(folder / "tallystick.db-archive")
    events = [
        StoredEvent(
            seq,
            DAY,
            UsageEvent(
                "s", str(seq), "sent", ("acme", "bolt")[seq % 2], DAY + HOUR_US, Decimal("0.5")
            ),
        )
        for seq in range(1, 31)
    ]
    part = archive.write(DAY, 1, events)
    (folder / "tallystick.db-archive" / "day=2015-05-18" / "part-0002.unfinished").touch()
    return folder / "tallystick.db-archive" / part.file


def test_the_example_reads_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/history.md", "exec"), {})
    assert "Decimal('7.500000000000')" in capsys.readouterr().out


def test_the_columns_are_those_of_the_files(tmp_path: Path) -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| \w", PAGE, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    columns = pyarrow.parquet.read_schema(written(tmp_path)).names
    assert set(columns) <= set(named)


def test_every_reason_to_hold_is_explained() -> None:
    for reason in HoldReason:
        assert f"| `{reason}` |" in PAGE
