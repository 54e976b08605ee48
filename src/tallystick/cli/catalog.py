"""`tallystick apply`."""

from __future__ import annotations

from pathlib import Path

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import opened


def apply(
    file: Path = typer.Argument(..., help="The catalog, in YAML."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Create at Stripe what the catalog declares and Stripe lacks; repeating it changes nothing.

    Example: `tallystick apply examples/web_api/catalog.yaml`
    """
    from tallystick.billing.catalog_changes import apply_catalog
    from tallystick.billing.catalog_file import read_catalog

    declared = read_catalog(file)
    with opened() as product:
        applied = apply_catalog(declared, product.catalog, product.stripe.catalog, product.clock)
    if as_json:
        print_json(
            {
                "created": list(applied.created),
                "meters": applied.meter_ids,
                "products": applied.product_ids,
                "prices": applied.price_ids,
            }
        )
        return
    for created in applied.created:
        console().print(f"created {created}", markup=False)
    if not applied.created:
        console().print("nothing to create: Stripe has all of it")
