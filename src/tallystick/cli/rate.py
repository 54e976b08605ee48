"""``tallystick rate``: what a quantity costs at a price, and why."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from tallystick.domain.quantity import QuantityError, parse_total, plain
from tallystick.domain.rating.answer import (
    answer_charge,
    answer_price_error,
    answer_quantity_error,
)
from tallystick.domain.rating.charges import rate as rate_quantity
from tallystick.domain.rating.descriptions import describe_unit_amount
from tallystick.domain.rating.prices import PriceError

if TYPE_CHECKING:
    from tallystick.domain.rating.charges import Charge

EXIT_BAD_INPUT = 2


def rate(
    price: Annotated[
        Path,
        typer.Option("--price", help="A Stripe price, YAML or JSON, in request or response shape."),
    ],
    usage: Annotated[str, typer.Option("--usage", help="The quantity, like 1001 or 0.25.")],
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Rate a quantity at a Stripe price: the invoice lines, and how each amount came about.

    Example: tallystick rate --price price.yaml --usage 10001 --json
    """
    # Reading YAML needs an extra that the other commands of a bare installation do without.
    from tallystick.cli.price_file import read_price

    try:
        charge = rate_quantity(read_price(price), parse_total(usage))
    except PriceError as error:
        _refuse(answer_price_error(error), as_json=as_json)
    except QuantityError as error:
        _refuse(answer_quantity_error(error, "usage"), as_json=as_json)
    if as_json:
        typer.echo(json.dumps(answer_charge(charge), ensure_ascii=False, indent=2))
    else:
        _print_charge(charge)


def _refuse(answer: dict[str, object], *, as_json: bool) -> NoReturn:
    """Answer with the error, where programs read it or where people do, and exit."""
    typer.echo(json.dumps(answer, ensure_ascii=False), err=not as_json)
    raise typer.Exit(EXIT_BAD_INPUT)


def _print_charge(charge: Charge) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("quantity", justify="right")
    table.add_column("amount", justify="right")
    table.add_column("description", overflow="fold")
    for line in charge.lines:
        table.add_row(
            plain(line.quantity), _shown(line.amount_minor, charge.currency), line.description
        )
    table.add_section()
    table.add_row("", _shown(charge.amount_minor, charge.currency), "total")
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print()
    for step in charge.trace:
        console.print(step, soft_wrap=True)


def _shown(amount_minor: int, currency: str) -> str:
    return describe_unit_amount(Decimal(amount_minor), currency)
