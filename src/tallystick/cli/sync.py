"""`tallystick sync`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from tallystick.cli.output import console, error_console, print_json, print_table
from tallystick.cli.session import in_turn, opened
from tallystick.ports.turns import Turn

if TYPE_CHECKING:
    from tallystick.billing.synchronizing import PlannedStep, SyncFindings, SyncPlan
    from tallystick.wiring import Tallystick

WRONG_SHOWN = 20


def sync(
    full: bool = typer.Option(False, "--full", help="Read everything, not only what may be lost."),
    calls_max: int | None = typer.Option(
        None, min=10, help="Calls that a full sync may make in all; 5,000 unless given."
    ),
    plan: bool = typer.Option(False, "--plan", help="Show the plan of a full sync and leave."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Make the mirror of Stripe's objects true, and show what was wrong with it.

    The first time, and after four weeks away, everything is read: a hundred objects a call,
    within the plan that is printed. Stopped, it goes on where it was when it is run again. Else
    Stripe's events of the last 30 days are compared with those that arrived, and what is still
    open is read. Exits 1 if something was wrong.

    Example: `tallystick sync --full --calls-max 20000`
    """
    with opened() as product, in_turn(product, Turn.SYNCING):
        synchronizer = product.synchronizer
        is_full = full or plan or synchronizer.needs_full()
        if is_full:
            planned = synchronizer.plan(calls_max)
            _show_plan(product, planned, as_json=as_json and plan)
            if plan:
                return
            findings = synchronizer.sync_fully(_show_progress)
        else:
            findings = synchronizer.sweep()
    _show(findings, as_json=as_json)
    if findings.wrong:
        raise typer.Exit(1)


def _show_plan(product: Tallystick, planned: SyncPlan, *, as_json: bool) -> None:
    shown: dict[str, Any] = {
        "calls_max": planned.calls_max,
        "calls_made": planned.calls_made,
        "resumed": planned.is_resumed,
        "kinds": {
            step.kind.value: {"objects": step.objects, "calls": step.calls, "done": step.is_done}
            for step in planned.steps
        },
    }
    if as_json:
        print_json(shown)
        return
    rate = product.stripe.objects.calls_per_second
    left = planned.calls_max - planned.calls_made
    seconds = -(-left // rate)
    said = "goes on with" if planned.is_resumed else "begins"
    out = error_console()
    out.print(
        f"full sync {said}: at most {planned.calls_max:,} calls, {planned.calls_made:,} of them "
        f"made; one for 100 objects, at most {rate:,} a second: at most {seconds:,} seconds"
    )
    for step in planned.steps:
        state = "done" if step.is_done else "to be read"
        out.print(f"  {step.kind.value}: {step.objects:,} objects in {step.calls:,} calls, {state}")


def _show_progress(step: PlannedStep) -> None:
    state = "done" if step.is_done else "so far"
    error_console().print(f"  {step.kind.value}: {step.objects:,} in {step.calls:,} calls {state}")


def _show(findings: SyncFindings, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "full": findings.is_full,
                "calls": findings.calls,
                "objects": findings.objects,
                "new": findings.new,
                "events_missed": findings.missed,
                "dead": findings.dead,
                "wrong": len(findings.wrong),
                "wrong_objects": findings.wrong[:WRONG_SHOWN],
            }
        )
        return
    rows = [
        ("objects read", f"{findings.objects:,}"),
        ("new", f"{findings.new:,}"),
        ("calls", f"{findings.calls:,}"),
        ("events that no webhook brought", f"{findings.missed:,}"),
        ("events given up on", f"{findings.dead:,}"),
        ("objects that were wrong", f"{len(findings.wrong):,}"),
    ]
    print_table("full sync" if findings.is_full else "sweep", ("", ""), rows)
    for stripe_id in findings.wrong[:WRONG_SHOWN]:
        console().print(f"was wrong: {stripe_id}", markup=False)
