"""`tallystick flush` and `tallystick outbox`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import opened

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

POLL_SECONDS = 0.2

_WAITING = ("pending",)
_BAD = ("dead", "unresolved")


def flush(
    wait: float = typer.Option(
        60.0, min=0.0, help="Seconds to wait for reports that Stripe asks to send later."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Report all usage that is due and deliver it now; exits 1 if some of it did not arrive.

    Example: `tallystick flush`
    """
    with opened() as product:
        shown = flush_now(product, wait)
    if as_json:
        print_json(shown)
    else:
        for what, counts in shown.items():
            counted = ", ".join(f"{number:,} {name}" for name, number in counts.items())
            console().print(f"{what}: {counted or 'nothing'}", markup=False)
    if any(shown["outbox"].get(state) for state in (*_WAITING, *_BAD)):
        raise typer.Exit(1)


def outbox(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show how much waits for Stripe and since when, and how much Stripe has yet to confirm.

    Example: `tallystick outbox`
    """
    from tallystick.oversight.outbox_view import depth_view

    with opened() as product:
        shown = depth_view(product.outbox, product.clock.now())
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        console().print(f"{name}: {value}", markup=False, soft_wrap=True)


def flush_now(product: Tallystick, wait_seconds: float) -> dict[str, Any]:
    """Plan what is due and deliver until nothing is pending or the time is over.

    Returns how much of what was due came to what, and the reports in each state.
    """
    from tallystick.workers.background import DELIVER_THREADS

    planned = product.reporter.run(at_once=True)
    give_up_at = product.clock.elapsed() + wait_seconds
    with ThreadPoolExecutor(DELIVER_THREADS) as pool:
        while product.outbox.next_attempt_at() is not None:
            runs = [pool.submit(product.deliverer.run) for _ in range(DELIVER_THREADS)]
            attempted = sum(sum(run.result().values()) for run in runs)
            if product.clock.elapsed() >= give_up_at:
                break
            if not attempted:
                product.clock.pause(POLL_SECONDS)
    return {
        "due": {str(outcome): number for outcome, number in sorted(planned.items())},
        "outbox": product.outbox.counts(),
    }
