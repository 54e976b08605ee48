"""`tallystick migrate-database` where days are in the archive: they stay and are read there."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tallystick.config import Settings
from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import EventStatus
from tallystick.domain.instants import DAY_US
from tallystick.ports.clock import SystemClock
from tallystick.storage.postgres.database import connect
from tallystick.storage.postgres.partitions import partition_of
from tallystick.wiring import Tallystick
from tests.contract.archiving import EndedEarly, archiver_of
from tests.e2e.test_archive import CUSTOMERS, INSIDE, MAY, archive, event, filled, shown
from tests.e2e.test_migrate_database import killed_after, migrate
from tests.fixtures.commands import tallystick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.events import UsageEvent

__all__ = ["filled"]

LATER = MAY.end_at + 20 * DAY_US
BATCH_ROWS = 20


def archived_in_part(environment: dict[str, str], settings: Settings) -> None:
    """Archive all but today's event, and a further day so far that some of its events are both in a
    file and in the database; then correct an event that is in a file alone.
    """
    assert archive(environment, "run")["ok"]
    with Tallystick(settings) as product:
        now = product.clock.now()
        more = [event(number, at=LATER + number) for number in range(100, 112)]
        newest = event(112, at=now)  # a file's newest event stays in the database
        product.events.append([*more, newest], now, is_history=True).result()
        with pytest.raises(InterruptedError):
            archiver_of(product, kind=EndedEarly).archive(LATER - LATER % DAY_US)
        (part,) = product.archive_ledger.parts(LATER - DAY_US, LATER + DAY_US)
        assert 0 < part.dropped_count < part.part.event_count
        voided = Correction("s", "e44", None, "ann", "a test")
        assert product.events.correct([voided], 0).result() == [CorrectionStatus.CORRECTED]


def moved(source: str, target: str) -> dict[str, Any]:
    """Move, killed three times on the way: before the events, among them, among identities."""
    reached = []
    for batches in (3, 6, 4):
        killed_after(batches, source, target, batch_rows=BATCH_ROWS)
        with connect(target) as connection:
            rows = connection.execute("SELECT name FROM moved_tables").fetchall()
        reached.append({table for (table,) in rows})
    assert "archive_parts" not in reached[0]
    assert "archive_parts" in reached[1]
    assert "event_identities" in reached[2]
    assert "usage_rollups" not in reached[2]
    done = migrate(source, target)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def counted(settings: Settings) -> list[Any]:
    """Return each event behind the usage of a period that begins and ends inside of hours."""
    with Tallystick(settings) as product:
        meters = product.catalog.meters().by_key.values()
        return [
            sorted(product.counted_events.counted(meter, customer, INSIDE))
            for customer in CUSTOMERS
            for meter in meters
        ]


def days_of(url: str) -> dict[str, int]:
    """Return how many events each partition has."""
    counts = "SELECT tableoid::regclass::text, COUNT(*) FROM usage_events GROUP BY 1"
    with connect(url) as connection:
        return dict(connection.execute(counts).fetchall())


def appended(product: Tallystick, events: Sequence[UsageEvent]) -> list[EventStatus]:
    return product.events.append(events, product.clock.now(), is_history=True).result()


@pytest.mark.slow
def test_archived_days_move_along_and_are_read_where_they_are(
    filled: dict[str, str], settings: Settings, postgres_url: str
) -> None:
    began_at = SystemClock().now()
    archived_in_part(filled, settings)
    before, behind = shown(settings), counted(settings)
    assert any(behind)
    checked = archive(filled, "verify")

    answer = moved(settings.database_url, postgres_url)
    assert answer["differences"] == []
    assert answer["rows"]["event_identities"] == 91 + 13
    assert answer["rows"]["usage_events"] == 2 + 9
    assert answer["rows"]["archive_parts"] > 20

    there = Settings(database_url=postgres_url, archive_folder=str(settings.archive_path()))
    environment = {
        "TALLYSTICK_DATABASE_URL": postgres_url,
        "TALLYSTICK_ARCHIVE_FOLDER": str(settings.archive_path()),
    }
    assert before == shown(settings) == shown(there)
    assert behind == counted(there)
    assert checked == archive(environment, "verify")
    of_days = days_of(postgres_url)
    today = partition_of(SystemClock().now())
    if today == partition_of(began_at):  # else what was of today is of the day before by now
        assert of_days == {"usage_events_past": 9, today: 2}
    assert sum(of_days.values()) == 2 + 9
    goes_on(environment, there)


def goes_on(environment: dict[str, str], settings: Settings) -> None:
    """Identities, corrections and the archive's own commands hold in the new database."""
    with Tallystick(settings) as product:
        other = msgspec.structs.replace(event(10), value=Decimal(77))
        late = event(200, at=MAY.start_at + DAY_US)
        statuses = appended(product, [event(3), other, event(100, at=LATER + 100), late])
        assert statuses == [
            EventStatus.DUPLICATE,
            EventStatus.CONFLICT,
            EventStatus.DUPLICATE,
            EventStatus.ACCEPTED,
        ]
        corrections = [
            Correction("s", "e44", Decimal(9), "ann", "it counts after all"),
            Correction("s", "e7", None, "ann", "a test"),
        ]
        found = product.events.correct(corrections, product.clock.now()).result()
        assert found == [CorrectionStatus.CORRECTED] * 2
        product.book.notice(1_000)
    after = shown(settings)
    done = archive(environment, "run")
    assert done["ok"]
    with Tallystick(settings) as product:
        parts = product.archive_ledger.parts()
        assert all(part.dropped_count == part.part.event_count for part in parts)
        assert sum(part.part.event_count for part in parts) == 90 + 12 + 1
    assert after == shown(settings)
    assert archive(environment, "verify")["ok"]
    restored = archive(environment, "restore", "2015-05-01", "2015-12-31")
    assert sum(day["events"] for day in restored["days"]) == 90 + 12 + 1
    assert after == shown(settings)


def test_a_database_whose_archive_is_not_named_says_so(
    filled: dict[str, str], settings: Settings, postgres_url: str
) -> None:
    assert archive(filled, "run")["ok"]
    assert migrate(settings.database_url, postgres_url).returncode == 0
    environment = {"TALLYSTICK_DATABASE_URL": postgres_url}
    for command in (("verify",), ("archive", "verify")):
        refused = tallystick(*command, "--json", environment=environment)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert "TALLYSTICK_ARCHIVE_FOLDER" in json.loads(refused.stdout)["error"]["message"]
    settings.archive_path().rename(settings.archive_path().with_name("elsewhere"))
    environment["TALLYSTICK_ARCHIVE_FOLDER"] = str(settings.archive_path())
    refused = tallystick("verify", "--json", environment=environment)
    assert refused.returncode == 3, refused.stdout + refused.stderr
