"""`tallystick plan`, `tallystick apply`, `tallystick drift`, `tallystick pull` and the schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import InputError, in_turn, opened, settings

if TYPE_CHECKING:
    from tallystick.domain.catalog.diff import Change

EXIT_DIFFERENCE = 1


def plan(
    files: list[Path] = typer.Argument(..., help="The catalog: YAML files, or folders of them."),
    prune: bool = typer.Option(False, "--prune", help="Archive prices that are left out."),
    exit_code: bool = typer.Option(False, "--exit-code", help="Exit 1 if anything would change."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what `apply` would change at Stripe; nothing is changed.

    Example: `tallystick plan examples/web_api/catalog.yaml`
    """
    from tallystick.billing.catalog_changes import plan_catalog
    from tallystick.billing.catalog_file import read_catalog
    from tallystick.cli.catalog_output import (
        change_json,
        print_changes,
        print_undeclared,
        print_warnings,
        problem_json,
    )
    from tallystick.domain.catalog.warnings import catalog_warnings

    declared = read_catalog(*files)
    warnings = catalog_warnings(declared)
    with opened() as product:
        planned = plan_catalog(declared, product.catalog, product.stripe.catalog, prune=prune)
    if as_json:
        print_json(
            {
                "changes": [change_json(change) for change in planned.changes],
                "undeclared": list(planned.undeclared),
                "warnings": [problem_json(warning) for warning in warnings],
            }
        )
    else:
        print_warnings(warnings)
        print_changes(planned.changes, are_made=False)
        print_undeclared(() if prune else planned.undeclared)
    if planned.changes and exit_code:
        raise typer.Exit(EXIT_DIFFERENCE)


def apply(
    files: list[Path] = typer.Argument(..., help="The catalog: YAML files, or folders of them."),
    prune: bool = typer.Option(False, "--prune", help="Archive prices that are left out."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Make the catalog true at Stripe, as `plan` shows it; repeating it changes nothing.

    Example: `tallystick apply examples/web_api/catalog.yaml`
    """
    from tallystick.billing.catalog_changes import apply_catalog
    from tallystick.billing.catalog_file import read_catalog
    from tallystick.cli.catalog_output import (
        change_json,
        print_changes,
        print_warnings,
        problem_json,
    )
    from tallystick.domain.catalog.warnings import catalog_warnings
    from tallystick.ports.turns import Turn

    declared = read_catalog(*files)
    warnings = catalog_warnings(declared)
    with opened() as product, in_turn(product, Turn.APPLYING):
        applied = apply_catalog(
            declared, product.catalog, product.stripe.catalog, product.clock, prune=prune
        )
    if as_json:
        print_json(
            {
                "created": list(applied.created),
                "changes": [change_json(change) for change in applied.changes],
                "warnings": [problem_json(warning) for warning in warnings],
                "meters": applied.meter_ids,
                "products": applied.product_ids,
                "prices": applied.price_ids,
            }
        )
        return
    print_warnings(warnings)
    print_changes(applied.changes, are_made=True)


def drift(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Name what was changed at Stripe since the catalog was applied; exits 1 if anything was.

    Example: `tallystick drift`
    """
    from tallystick.billing.catalog_changes import find_drift
    from tallystick.cli.catalog_output import change_json, problem_json

    with opened() as product:
        found = find_drift(product.catalog, product.stripe.catalog)
    if found is None:
        raise InputError("nothing_applied", "no catalog was applied yet; see `tallystick apply`")
    if as_json:
        print_json(
            {
                "drift": [change_json(change) for change in found.changes],
                "conflicts": [problem_json(conflict) for conflict in found.conflicts],
            }
        )
    else:
        for change in found.changes:
            console().print(f"{change}: {_drifted(change)}", markup=False, soft_wrap=True)
        for conflict in found.conflicts:
            console().print(str(conflict), markup=False, soft_wrap=True)
        if not (found.changes or found.conflicts):
            console().print("no drift: Stripe is as the catalog was applied")
    if found.changes or found.conflicts:
        raise typer.Exit(EXIT_DIFFERENCE)


def pull(
    output: Path | None = typer.Option(None, help="A file to write; else standard output."),
    as_json: bool = typer.Option(False, "--json", help="Print the catalog as JSON."),
) -> None:
    """Write the catalog of an existing Stripe account: what it sells, legacy prices included.

    Example: `tallystick pull --output catalog.yaml`
    """
    from tallystick.billing.catalog_pull import pull_catalog, write_yaml
    from tallystick.cli.output import error_console
    from tallystick.ports.clock import SystemClock
    from tallystick.wiring import connect_stripe

    pulled = pull_catalog(connect_stripe(settings(), SystemClock()).catalog)
    for note in pulled.notes:
        error_console().print(f"note: {note}", markup=False, soft_wrap=True)
    if as_json:
        print_json(pulled.document)
        return
    text = write_yaml(pulled.document)
    if output is None:
        sys.stdout.write(text)
        return
    if output.exists():
        raise InputError("file_exists", f"{output} exists; it is not overwritten")
    output.write_text(text, "utf-8")
    console().print(f"wrote {output}", markup=False)


def schema() -> None:
    """Print the JSON schema of catalog files, for editors.

    Example: `tallystick schema > catalog.schema.json`
    """
    from tallystick.domain.catalog.schema import catalog_schema

    sys.stdout.write(json.dumps(catalog_schema(), indent=2, ensure_ascii=False) + "\n")


def _drifted(change: Change) -> str:
    from tallystick.domain.catalog.diff import Action

    if change.action is Action.CREATE:
        return "is not at Stripe any more"
    if change.action is Action.ARCHIVE:
        return f"its version before, {change.stripe_id}, is active"
    shown = (
        f"{each.field} is {each.before or '(none)'}, applied was {each.after or '(none)'}"
        for each in change.fields
    )
    return f"{'; '.join(shown)} ({change.stripe_id})"
