"""Several servers write at once: rollups equal a recount, for every aggregation."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from decimal import Decimal
from random import Random

from tallystick.domain.corrections import Correction
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.domain.instants import HOUR_US
from tallystick.domain.meters import Aggregation, Meter, PropertyFilter
from tests.fixtures.meters import OF_EACH_AGGREGATION
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.postgres import fresh_database
from tests.fixtures.seeds import chosen_seed
from tests.postgres.stores import NOW, Store, opened

SERVERS = 3
ROUNDS = 12
IDS = 400
GROUPED = (
    Meter("m_eu", "", "seen", Aggregation.SUM, 3, filters=(PropertyFilter("region", ("eu",)),)),
    Meter("m_groups", "", "seen", Aggregation.SUM, 3, group_by=("region",)),
    Meter("m_largest", "", "seen", Aggregation.MAX, 3, group_by=("region",)),
)


def some_event(event_id: int) -> UsageEvent:
    """Return the event of an id: always the same, so that servers repeat each other's."""
    random = Random(event_id)
    return UsageEvent(
        "s",
        str(event_id),
        "seen",
        random.choice(("acme", "bolt")),
        NOW + random.randrange(2 * HOUR_US),
        Decimal(random.randrange(-2_000, 9_000)).scaleb(-3),
        random.choice((b"", b'{"region":"eu","user":"u1"}', b'{"region":"us","user":"u2"}')),
    )


def write(store: Store, random: Random, accepted: list[str], *, is_history: bool) -> None:
    """Append and correct at random, as one server does."""
    for _ in range(ROUNDS):
        chosen = [some_event(random.randrange(IDS)) for _ in range(random.randrange(1, 40))]
        statuses = store.events.append(chosen, NOW, is_history=is_history).result(PATIENCE_SECONDS)
        accepted += [
            event.id
            for event, status in zip(chosen, statuses, strict=True)
            if status is EventStatus.ACCEPTED
        ]
        corrections = [
            Correction("s", str(random.randrange(IDS)), value, "ann", "a test")
            for value in (None, Decimal(random.randrange(100)))
            for _ in range(2)
        ]
        store.events.correct(corrections, NOW).result(PATIENCE_SECONDS)


def test_servers_that_append_and_correct_at_once_agree_with_a_recount() -> None:
    seed = chosen_seed()
    accepted: list[str] = []
    failures: list[BaseException] = []

    def run(number: int, store: Store) -> None:
        try:
            write(store, Random(seed + number), accepted, is_history=number == 0)
        except BaseException as error:  # for the test's thread
            failures.append(error)

    with fresh_database() as url, ExitStack() as stack:
        stores = [
            stack.enter_context(opened(url, OF_EACH_AGGREGATION + GROUPED)) for _ in range(SERVERS)
        ]
        threads = [threading.Thread(target=run, args=pair) for pair in enumerate(stores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(accepted) == len(set(accepted)) == stores[0].events.count()
        assert stores[0].findings(OF_EACH_AGGREGATION + GROUPED) == []


def test_a_meter_declared_under_load_misses_no_event() -> None:
    accepted: list[str] = []
    with (
        fresh_database() as url,
        opened(url, OF_EACH_AGGREGATION[:2]) as store,
        opened(url, ()) as other,
    ):
        appending = threading.Thread(
            target=write, args=(store, Random(1), accepted), kwargs={"is_history": False}
        )
        appending.start()
        for count in range(3, len(OF_EACH_AGGREGATION) + 1):
            with opened(url, OF_EACH_AGGREGATION[:count]):
                continue
        appending.join()
        assert accepted
        assert other.findings(OF_EACH_AGGREGATION) == []
