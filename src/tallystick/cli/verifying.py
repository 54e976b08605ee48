"""`tallystick verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import opened

if TYPE_CHECKING:
    from tallystick.oversight.invariants import CheckResult
    from tallystick.wiring import Tallystick

LAG_PAUSE_SECONDS = 1.0


def verify(
    stripe: bool = typer.Option(True, help="Compare with Stripe's own totals too."),
    wait: float = typer.Option(
        10.0, min=0.0, help="Seconds to let Stripe's totals, which lag, catch up."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check the invariants on the live database; exits 1 and names what does not hold.

    Example: `tallystick verify --no-stripe`
    """
    with opened() as product:
        checks = verify_now(product, wait if stripe else None)
    if as_json:
        print_json(
            {
                "ok": all(check.holds for check in checks),
                "checks": [check._asdict() | {"holds": check.holds} for check in checks],
            }
        )
    else:
        _print_checks(checks)
    if not all(check.holds for check in checks):
        raise typer.Exit(1)


def verify_now(product: Tallystick, wait_seconds: float | None) -> list[CheckResult]:
    """Return every check's result; with Stripe unless ``wait_seconds`` is None or no key is set."""
    from tallystick.oversight.invariants import check_store, check_stripe

    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
        reports = list(snapshot.reports())
    if wait_seconds is None or not product.settings.stripe_api_key:
        return checks
    give_up_at = product.clock.elapsed() + wait_seconds
    while True:
        compared = check_stripe(
            reports,
            product.catalog.stripe_meter_ids(),
            product.stripe.summaries,
            product.recorded_items,
        )
        if compared.holds or product.clock.elapsed() >= give_up_at:
            return [*checks, compared]
        product.clock.pause(LAG_PAUSE_SECONDS)


def _print_checks(checks: list[CheckResult]) -> None:
    out = console()
    for check in checks:
        mark = "[green]ok[/green]  " if check.holds else "[red]FAIL[/red]"
        out.print(f"{mark} {check.name}: {check.meaning} ({check.checked:,} checked)")
        for finding in check.findings:
            out.print(f"     {finding}", markup=False)
        if check.failures > len(check.findings):
            out.print(f"     and {check.failures - len(check.findings):,} more")
