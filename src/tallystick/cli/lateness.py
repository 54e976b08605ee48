"""`tallystick lateness`."""

from __future__ import annotations

import typer

from tallystick.cli.output import print_json, print_table
from tallystick.cli.reading import meters_named
from tallystick.cli.session import InputError, opened


def lateness(
    meter: str | None = typer.Option(None, help="One meter; else all."),
    from_: str | None = typer.Option(
        None, "--from", help="First day of arrival, UTC, like 2026-11-01; else the last 30 days."
    ),
    to: str | None = typer.Option(None, help="Until which day, exclusive; else with today."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show how long events took to arrive, by meter: p50, p99, and the share that came late.

    Late is an hour or more: after that an event may miss its invoice.

    Example: `tallystick lateness --meter api_requests --from 2026-11-01`
    """
    from tallystick.oversight.lateness_view import days_between, lateness_view

    with opened() as product:
        meters = meters_named(product, meter)
        try:
            days = days_between(from_, to, product.clock.now())
        except (ValueError, OverflowError) as error:
            raise InputError("invalid_period", str(error)) from None
        shown = lateness_view(product.lateness, product.lateness_tally, meters, days)
    if as_json:
        print_json(shown)
        return
    print_table(
        f"arrived {shown['from']} to {shown['to']}",
        ("meter", "events", "p50 seconds", "p99 seconds", "late", "share late", "ahead"),
        [
            (
                each["meter"],
                f"{each['events']:,}",
                each["p50_seconds"] or "",
                each["p99_seconds"] or "",
                f"{each['late']:,}",
                each["late_share"] or "",
                f"{each['ahead']:,}",
            )
            for each in shown["meters"]
        ],
    )
