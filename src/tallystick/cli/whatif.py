"""`tallystick whatif`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tallystick.cli.output import error_console, print_json, print_table
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from tallystick.billing.what_if import WhatIfAnswer

SHOWN_MAX = 20
"""Customers in the table, those with the largest differences; JSON and CSV have all."""


def whatif(
    catalog: list[Path] = typer.Option(
        ..., "--catalog", help="The other catalog: a YAML file or a folder; may be repeated."
    ),
    from_: str | None = typer.Option(None, "--from", help="Billing periods that ended after this."),
    to: str | None = typer.Option(None, "--to", help="Billing periods that ended by then."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    as_csv: bool = typer.Option(False, "--csv", help="Print CSV."),
) -> None:
    """Re-rate past usage of all customers under another catalog; nothing is changed.

    Without `--from` and `--to`, every billing period that is over.

    Example: `tallystick whatif --catalog cheaper.yaml --from 2015-05-01 --to 2015-06-01`
    """
    from tallystick.billing.catalog_file import read_catalog
    from tallystick.billing.what_if import WhatIf
    from tallystick.billing.what_if_answer import answer_what_if, what_if_csv
    from tallystick.domain.instants import parse_instant
    from tallystick.domain.periods import Period

    if as_json and as_csv:
        raise InputError("two_formats", "either --json or --csv")
    declared = read_catalog(*catalog)
    with opened() as product:
        try:
            start_at = parse_instant(from_) if from_ else 0
            within = Period(start_at, parse_instant(to) if to else product.clock.now())
        except ValueError as error:
            raise InputError("invalid_period", str(error)) from None
        answer = WhatIf(product.usage, product.catalog, product.customers, declared).rerate(within)
    if as_json:
        print_json(answer_what_if(answer, within))
    elif as_csv:
        sys.stdout.write(what_if_csv(answer))
    else:
        _print_answer(answer)


def _print_answer(answer: WhatIfAnswer) -> None:
    from tallystick.domain.money import Money, format_money

    largest = sorted(answer.rows, key=lambda row: (-abs(row.difference_minor), row.customer))
    totals = [row._replace(customer="total") for row in answer.totals]
    rows = [
        (
            row.customer,
            format_money(Money(row.before_minor, row.currency)),
            format_money(Money(row.after_minor, row.currency)),
            format_money(Money(row.difference_minor, row.currency)),
        )
        for row in (*largest[:SHOWN_MAX], *totals)
    ]
    shown = min(len(largest), SHOWN_MAX)
    print_table(
        f"the {shown} largest differences of {len(largest):,} customers",
        ("customer", "now", "under the other catalog", "difference"),
        rows,
    )
    for reason in sorted({item.reason for item in answer.unrated}):
        count = sum(item.reason == reason for item in answer.unrated)
        error_console().print(f"{count} subscription items left out: {reason}", markup=False)
