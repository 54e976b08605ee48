"""`tallystick events`: corrections of events that were stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from decimal import Decimal

app = typer.Typer(
    help="Corrections: an event stays as it was sent; what it counts for changes.",
    no_args_is_help=True,
)


@app.command()
def void(
    event_id: str = typer.Argument(..., metavar="ID", help="The event's id."),
    source: str = typer.Option("default", help="The event's source."),
    actor: str = typer.Option(..., help="Who decides it."),
    reason: str = typer.Option(..., help="Why."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Let an event count for nothing. Its usage is counted again; a closed period's is parked.

    Example: `tallystick events void req_17 --actor ann --reason "load test"`
    """
    _correct(event_id, source, None, (actor, reason), as_json=as_json)


@app.command()
def replace(
    event_id: str = typer.Argument(..., metavar="ID", help="The event's id."),
    value: str = typer.Argument(..., help="What it counts for instead."),
    source: str = typer.Option("default", help="The event's source."),
    actor: str = typer.Option(..., help="Who decides it."),
    reason: str = typer.Option(..., help="Why."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Let an event count for another value.

    Example: `tallystick events replace req_17 250 --actor ann --reason "wrong unit"`
    """
    from tallystick.domain.quantity import QuantityError, parse_quantity

    try:
        number = parse_quantity(value)
    except QuantityError as error:
        raise InputError(error.code, str(error)) from None
    _correct(event_id, source, number, (actor, reason), as_json=as_json)


def _correct(
    event_id: str, source: str, value: Decimal | None, why: tuple[str, str], *, as_json: bool
) -> None:
    from tallystick.domain.corrections import Correction, CorrectionStatus
    from tallystick.pipeline.corrections import CorrectionRefused

    with opened() as product:
        try:
            status = product.corrections.correct(Correction(source, event_id, value, *why))
        except CorrectionRefused as error:
            raise InputError(error.code, str(error)) from None
    if status is CorrectionStatus.NOT_FOUND:
        raise InputError("event_not_found", f"no event {event_id!r} of source {source!r} is stored")
    if as_json:
        print_json({"source": source, "id": event_id, "status": status})
    else:
        console().print(f"{event_id}: {status}", markup=False)
