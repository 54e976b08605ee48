"""Running totals of a database whose reports are older than they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tallystick.domain.periods import Period
from tallystick.domain.quantity import add_all, plain
from tallystick.ports.outbox import Reported
from tallystick.storage.sqlite import migrations
from tallystick.wiring import Tallystick
from tests.fixtures.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

from tallystick.config import Settings

ADD = """
INSERT INTO usage_reports (
    customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, planned_at
) VALUES ('acme', 'cus_1', 'calls', 10, 20, 10, 15, ?, ?, 12, ?, ?, 0)
"""
QUANTITIES = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.integers(0, 12),
)


@given(
    rows=st.lists(
        st.tuples(QUANTITIES, st.sampled_from(["delivered", "dead", "replaced"])), min_size=1
    )
)
@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_upgrade_adds_up_what_was_reported_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[Decimal, str]]
) -> None:
    before = [one for one in migrations.migrations() if one.name < "0010"]
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda: before)
        migrations.migrate(path, 0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            ADD,
            [
                (number, plain(quantity), f"ts1-{number}", state)
                for number, (quantity, state) in enumerate(rows)
            ],
        )
    with Tallystick(Settings(database_url=f"sqlite:///{path}"), FakeClock(0)) as product:
        expected = add_all(quantity for quantity, state in rows if state != "replaced")
        assert product.book.reported("acme", "calls", Period(10, 20)) == Reported(
            expected, len(rows)
        )
