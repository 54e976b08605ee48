"""`tallystick customers`."""

from __future__ import annotations

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import opened

app = typer.Typer(help="Your customers and Stripe's.", no_args_is_help=True)


@app.callback()
def _customers() -> None:
    """Your customers and Stripe's."""


@app.command()
def link(
    customer: str = typer.Argument(..., help="Your customer's id, as your events name it."),
    stripe_customer: str = typer.Argument(..., help="Stripe's id, like `cus_...`."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Join a customer of yours to one of Stripe's; usage from before becomes due too.

    Example: `tallystick customers link acme cus_NffrFeUfNV2Hib`
    """
    from tallystick.domain.subscriptions import CustomerLink

    with opened() as product:
        clock_id = product.stripe.subscriptions.test_clock_id(stripe_customer)
        joined = CustomerLink(customer, stripe_customer, clock_id)
        is_new = bool(product.customers.link([joined], product.clock.now()))
        # read at once: once the present billing period is over, Stripe shows the next one only
        periods = product.billing_periods()
        items = periods.items(joined, periods.now_of(joined))
    if as_json:
        print_json(
            {
                "customer": customer,
                "stripe_customer": stripe_customer,
                "test_clock": clock_id,
                "new": is_new,
                "metered_items": len(items),
            }
        )
    else:
        said = "is now linked to" if is_new else "was linked already to"
        console().print(
            f"{customer} {said} {stripe_customer}, {len(items)} metered items", markup=False
        )
