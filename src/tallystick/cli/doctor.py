"""`tallystick doctor`: what is configured, what is reachable, what is wrong."""

from __future__ import annotations

import typer


def doctor(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Say what is configured, what can be reached and what is wrong, without printing a secret.

    Exits 3 if something cannot be reached, 1 if something else is wrong.

    Example: `tallystick doctor --json`
    """
    from tallystick.cli.diagnosis import Standing, diagnose
    from tallystick.cli.output import console, print_json
    from tallystick.cli.session import log_warnings

    log_warnings()
    findings = diagnose()
    if as_json:
        print_json(
            {
                "ok": all(found.standing is not Standing.WRONG for found in findings),
                "findings": [found._asdict() for found in findings],
            }
        )
    else:
        colours = {Standing.OK: "green", Standing.NOTE: "yellow"}
        for found in findings:
            colour = colours.get(found.standing, "red")
            console().print(f"[{colour}]{found.standing.value:<12}[/{colour}] ", end="")
            console().print(f"{found.subject}: {found.detail}", markup=False, soft_wrap=True)
    standings = {found.standing for found in findings}
    if Standing.UNREACHABLE in standings:
        raise typer.Exit(3)
    if Standing.WRONG in standings:
        raise typer.Exit(1)
