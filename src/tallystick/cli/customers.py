"""`tallystick customers`."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tallystick.cli.output import console, print_json, print_table
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.billing.linking import Linked
    from tallystick.domain.item_history import ItemSegment, KnownItem
    from tallystick.wiring import Tallystick

app = typer.Typer(help="Your customers and Stripe's.", no_args_is_help=True)

REFUSALS_SHOWN = 20
COLUMNS = 2


@app.callback()
def _customers() -> None:
    """Your customers and Stripe's."""


@app.command()
def link(
    customer: str | None = typer.Argument(None, help="Your customer's id, as your events name it."),
    stripe_customer: str | None = typer.Argument(None, help="Stripe's id, like `cus_...`."),
    metadata_key: str | None = typer.Option(
        None, help="Link all: your ids stand in Stripe's customers' metadata under this key."
    ),
    file: Path | None = typer.Option(
        None, help="Link all: a CSV file, each line your id and Stripe's."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Join customers of yours to Stripe's; usage from before becomes due too.

    One by its ids, or many by a metadata key (after `tallystick sync`) or a mapping file; exits 1
    if some could not be joined.

    Example: `tallystick customers link acme cus_NffrFeUfNV2Hib`
    """
    ways = [customer is not None, metadata_key is not None, file is not None]
    if sum(ways) != 1 or (customer is None) != (stripe_customer is None):
        raise InputError(
            "what_to_link", "give a customer and Stripe's id, or --metadata-key, or --file"
        )
    with opened() as product:
        if customer is not None and stripe_customer is not None:
            _link_one(product, customer, stripe_customer, as_json=as_json)
            return
        if metadata_key is not None:
            if product.sync_ledger.state().synced_at is None:
                raise InputError("not_synced", "run `tallystick sync` first: it reads customers")
            pairs = product.linker.by_metadata(metadata_key)
        else:
            assert file is not None  # exactly one way was given
            pairs = _mapping(file)
        linked = product.linker.link_all(pairs)
    _show_linked(linked, as_json=as_json)
    if linked.refused:
        raise typer.Exit(1)


@app.command()
def unlinked(
    limit: int = typer.Option(100, min=1, help="Customers shown at most."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List customers that are not linked, with the usage that is at stake: it is kept until then.

    Example: `tallystick customers unlinked`
    """
    from tallystick.billing.linking import unlinked_usage
    from tallystick.domain.quantity import plain

    with opened() as product:
        meters = product.catalog.meters().by_key.values()
        stakes = unlinked_usage(product.customers, product.usage, meters)
        found = list(islice(stakes, limit + 1))
    shown = [
        {
            "customer": one.customer,
            "events": one.events,
            "usage": {meter_key: plain(quantity) for meter_key, quantity in one.quantities},
        }
        for one in found[:limit]
    ]
    if as_json:
        print_json({"unlinked": shown, "more": len(found) > limit})
        return
    rows = [
        (one.customer, ", ".join(f"{key} {plain(quantity)}" for key, quantity in one.quantities))
        for one in found[:limit]
    ]
    print_table("usage of customers that are not linked", ("customer", "usage"), rows)
    if len(found) > limit:
        console().print(f"and more: only {limit} are shown")


@app.command()
def unbilled(
    meter: str | None = typer.Option(None, help="Only usage of this meter."),
    limit: int = typer.Option(100, min=1, help="Rows shown at most."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List usage of linked customers that no billing period covers, with the money at stake.

    It is kept, and reported once a period covers it. At stake is what the price that the customer
    had nearest to it would charge; of a meter that the customer never had, nothing is known.

    Example: `tallystick customers unbilled --meter api_requests`
    """
    from tallystick.oversight.unbilled_view import unbilled_view

    with opened() as product:
        if meter is not None and meter not in product.catalog.meters().by_key:
            raise InputError("unknown_meter", f"there is no meter {meter!r} in the catalog")
        found = list(islice(product.unbilled_usages.find(meter), limit + 1))
    shown = [unbilled_view(one) for one in found[:limit]]
    if as_json:
        print_json({"unbilled": shown, "more": len(found) > limit})
        return
    columns = ("customer", "meter", "from", "to", "events", "quantity", "at stake")
    rows = [
        (
            *(str(row[name] or "") for name in ("customer", "meter", "from", "to")),
            f"{row['events']:,}",
            row["quantity"],
            row["at_stake"]["shown"] if row["at_stake"] else "?",
        )
        for row in shown
    ]
    print_table("usage in no billing period", columns, rows)
    if len(found) > limit:
        console().print(f"and more: only {limit} are shown")


@app.command()
def periods(
    customer: str = typer.Argument(..., help="Your customer's id."),
    at: str | None = typer.Option(None, help="Only what was true at this instant."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show which subscription items, prices and billing periods a customer has and had.

    As Stripe told; nothing is asked anew.

    Example: `tallystick customers periods acme --at 2015-05-17T10:00:00Z`
    """
    from tallystick.domain.instants import parse_instant
    from tallystick.domain.item_history import item_segments

    with opened() as product:
        joined = product.customers.find(customer)
        if joined is None:
            raise InputError(
                "not_linked", f"{customer!r} is not linked; see `tallystick customers link`"
            )
        try:
            instant = None if at is None else parse_instant(at)
        except ValueError as error:
            raise InputError("invalid_instant", str(error)) from None
        shown = [
            _segment_json(item, segment)
            for item in product.mirror.items(joined.stripe_customer_id)
            for segment in item_segments(item.facts)
            if instant is None or instant in segment.span
        ]
    if as_json:
        print_json({"customer": customer, "periods": shown})
    else:
        columns = ("subscription_item", "price", "from", "to", "period_from", "period_to")
        rows = [tuple(str(row[column]) for column in columns) for row in shown]
        print_table(customer, columns, rows)


def _link_one(product: Tallystick, customer: str, stripe_customer: str, *, as_json: bool) -> None:
    joined, is_new = product.linker.link(customer, stripe_customer)
    # read at once: what is current now is then known when it is past
    known = product.billing_periods()
    items = known.items(joined, known.now_of(joined))
    if as_json:
        print_json(
            {
                "customer": customer,
                "stripe_customer": stripe_customer,
                "test_clock": joined.test_clock_id,
                "new": is_new,
                "metered_items": len({item.stripe_item_id for item in items}),
            }
        )
        return
    said = "is now linked to" if is_new else "was linked already to"
    count = len({item.stripe_item_id for item in items})
    console().print(f"{customer} {said} {stripe_customer}, {count} metered items", markup=False)


def _mapping(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a file; a first line that names columns is left out.

    Raises:
        InputError: it cannot be read, or a line is no pair.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv.reader(lines), start=1):
                cells = [cell.strip() for cell in row]
                if not any(cells) or (number == 1 and not cells[-1].startswith("cus_")):
                    continue
                if len(cells) != COLUMNS or not all(cells):
                    raise InputError(
                        "bad_mapping", f"{file}, line {number}: your id, a comma and Stripe's"
                    )
                yield cells[0], cells[1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("bad_mapping", f"{file}: {error}") from error


def _show_linked(linked: Linked, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "new": linked.new,
                "known": linked.known,
                "refused": [one._asdict() for one in linked.refused],
            }
        )
        return
    console().print(
        f"{linked.new:,} linked, {linked.known:,} were already, {len(linked.refused):,} refused"
    )
    for one in linked.refused[:REFUSALS_SHOWN]:
        console().print(f"{one.customer}: {one.reason}", markup=False)


def _segment_json(item: KnownItem, segment: ItemSegment) -> dict[str, Any]:
    from tallystick.domain.instants import format_instant

    span, state = segment
    return {
        "subscription_item": item.stripe_item_id,
        "subscription": item.stripe_subscription_id,
        "price": state.stripe_price_id,
        "from": format_instant(span.start_at),
        "to": format_instant(span.end_at),
        "period_from": format_instant(state.period.start_at),
        "period_to": format_instant(state.period.end_at),
    }
