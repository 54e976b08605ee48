"""What workers do, with `tallystick serve` or by themselves with `tallystick worker`."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from tallystick.cli.session import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallystick.ports.turns import Turn
    from tallystick.wiring import Tallystick
    from tallystick.workers.background import Work

READY = "working on "
"""What `tallystick worker` prints when it has begun, and the database."""


def worker() -> None:
    """Run the workers alone, until SIGTERM or Ctrl-C; as many of these as you like.

    For several servers on one PostgreSQL database: `tallystick serve --no-workers` takes events,
    these report them. Prints `working on DATABASE` when it has begun.

    Example: `TALLYSTICK_DATABASE_URL=postgresql://tallystick@db/tallystick tallystick worker`
    """
    from tallystick.observability.logs import configure_logs
    from tallystick.workers.background import Background

    configure_logs()
    ended = threading.Event()
    with opened() as product:
        background = Background(works_of(product))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        background.start()
        typer.echo(f"{READY}{product.settings.database_name}")
        try:
            ended.wait()
        finally:
            background.stop()


def works_of(product: Tallystick) -> list[Work]:
    """Return the workers' work, without a Stripe key only what needs none.

    Each is built anew, because Stripe may be unreachable at first. Of several processes on one
    database all deliver and settle side by side; the rest is done by one at a time.
    """
    from tallystick.ports.turns import Turn
    from tallystick.workers import background as pace
    from tallystick.workers.background import Work

    def keep_up() -> Counter[str]:
        product.lateness_tally.keep_up(pace.LATENESS_BATCHES)
        return Counter()  # it is always the same, and nobody's news

    def alone(turn: Turn, run: Callable[[], Counter[Any]]) -> Callable[[], Counter[Any]]:
        def run_in_turn() -> Counter[Any]:
            with product.turns.take(turn) as is_ours:
                return run() if is_ours else Counter()

        return run_in_turn

    settings = product.settings
    roll = alone(Turn.ROLLING, lambda: product.day_roller.run(pace.ROLL_STEPS))
    rolling = Work("usage.rolled_up", roll, pace.ROLL_PAUSE_SECONDS)
    lateness = Work("lateness.counted", keep_up, pace.LATENESS_PAUSE_SECONDS)
    if not settings.stripe_api_key:
        return [lateness, rolling]
    plan = alone(Turn.PLANNING, lambda: product.reporter.run())
    reject = alone(Turn.REJECTING, lambda: product.rejections.run())
    confirm = alone(Turn.CONFIRMING, lambda: product.confirmer.run())
    sweep = alone(Turn.SYNCING, lambda: product.synchronizer.repair())
    return [
        lateness,
        rolling,
        Work("report.planned", plan, settings.report_seconds),
        Work(
            "report.delivered",
            lambda: product.deliverer.run(),
            pace.DELIVER_PAUSE_SECONDS,
            pace.DELIVER_THREADS,
        ),
        Work("report.rejected", reject, pace.CONFIRM_PAUSE_SECONDS),
        Work("report.confirmed", confirm, pace.CONFIRM_PAUSE_SECONDS),
        Work(
            "inbox.settled",
            lambda: product.inbox_worker.run(),
            pace.INBOX_PAUSE_SECONDS,
            pace.INBOX_THREADS,
        ),
        Work("mirror.swept", sweep, settings.sweep_seconds),
    ]
