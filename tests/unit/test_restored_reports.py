"""A backup knows nothing of what was reported after it: what `verify` says, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallystick.domain.instants import MINUTE_US, SECOND_US
from tallystick.oversight.invariants import check_stripe
from tallystick.storage.sqlite.backup import back_up, restore
from tallystick.wiring import Tallystick
from tests.fixtures.billed_customers import METER
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.reporting_rig import Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    sandbox = ClockedSandbox()
    made = Rig(sandbox, tmp_path, "meter_events")
    yield made
    made.product.close()
    sandbox.stop()


def findings(rig: Rig) -> tuple[str, ...]:
    product = rig.product
    reports = product.book.reports()
    meters = product.catalog.stripe_meter_ids()
    compared = check_stripe(reports, meters, product.stripe.summaries, product.recorded_items)
    return compared.findings


def lose_what_came_after(rig: Rig, backup: Path) -> None:
    """Put a backup in the place of the database."""
    rig.product.close()
    path = rig.settings.sqlite_path()
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    restore(backup, path, rig.clock.now())
    rig.product = Tallystick(rig.settings, rig.clock)


def test_what_stripe_has_twice_after_a_restore_is_named_and_a_negative_event_takes_it_back(
    rig: Rig, tmp_path: Path
) -> None:
    rig.wait(10 * MINUTE_US)
    rig.use("ada", 5)
    rig.flush()
    backup = tmp_path / "backup.db"
    back_up(rig.settings.sqlite_path(), backup)
    rig.wait(MINUTE_US)
    rig.use("ada", 7)
    used_at = rig.clock.now() - SECOND_US
    rig.flush()
    lose_what_came_after(rig, backup)
    rig.customers.number -= 1
    rig.customers.use(rig.product, "ada", used_at, 7)  # the client sends again what it kept
    rig.wait(MINUTE_US)
    rig.flush()
    (found,) = findings(rig)
    assert found.endswith("Stripe has 19, delivered 12")
    rig.customers.client.v1.billing.meter_events.create(
        {
            "event_name": METER,
            "payload": {"stripe_customer_id": rig.customers.stripe_ids["ada"], "value": "-7"},
            "timestamp": rig.clock.now() // SECOND_US,
        }
    )
    assert findings(rig) == ()
    assert rig.at_stripe("ada") == 12
