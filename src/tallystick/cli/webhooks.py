"""`tallystick webhooks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from tallystick.billing.webhook_setup import EndpointSetup

app = typer.Typer(help="The endpoints that Stripe posts events to.", no_args_is_help=True)


@app.callback()
def _webhooks() -> None:
    """The endpoints that Stripe posts events to."""


@app.command()
def setup(
    url: str = typer.Argument(..., help="Where this server is reached; its path is added."),
    update: bool = typer.Option(
        False, "--update", help="Let existing endpoints send what they lack."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Register this server at Stripe for just the events that are dealt with.

    Two endpoints: one for events with their data, one for thin events, which Stripe sends of meter
    errors. Prints the signing secrets of new ones, which Stripe shows only now; exits 1 if an
    existing one lacks something.

    Example: `tallystick webhooks setup https://billing.example.com`
    """
    from tallystick.billing.webhook_setup import set_up_webhooks

    if not url.startswith(("https://", "http://")):
        raise InputError("invalid_url", f"{url!r} is no address; https:// comes first")
    path = "/webhooks/stripe"
    address = url if url.endswith(path) else url.rstrip("/") + path
    with opened() as product:
        account = product.stripe.accounts.account()
        setups = set_up_webhooks(
            address, product.stripe.endpoints, livemode=account.livemode, update=update
        )
    if as_json:
        print_json({"url": address, "endpoints": [_endpoint_json(one) for one in setups]})
    else:
        for one in setups:
            _print_endpoint(one)
    if any(one.lacking or one.remarks for one in setups):
        raise typer.Exit(1)


def _endpoint_json(one: EndpointSetup) -> dict[str, Any]:
    return {
        "id": one.endpoint_id,
        "payload": "thin" if one.is_thin else "snapshot",
        "new": one.is_new,
        "secret": one.secret,
        "lacking": list(one.lacking),
        "needless": list(one.needless),
        "remarks": list(one.remarks),
    }


def _print_endpoint(one: EndpointSetup) -> None:
    out = console()
    kind = "thin events" if one.is_thin else "events with their data"
    said = "made" if one.is_new else "exists"
    out.print(f"{one.endpoint_id}, {kind}: {said}", markup=False)
    if one.secret:
        out.print(f"  add its secret to TALLYSTICK_WEBHOOK_SECRETS: {one.secret}", markup=False)
    if one.lacking:
        out.print(f"  it lacks (--update adds them): {', '.join(one.lacking)}", markup=False)
    if one.needless:
        out.print(f"  it also sends what is ignored here: {', '.join(one.needless)}", markup=False)
    for remark in one.remarks:
        out.print(f"  {remark}", markup=False)
