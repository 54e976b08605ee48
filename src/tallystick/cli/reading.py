"""`tallystick usage` and `tallystick preview`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from tallystick.cli.output import console, print_json, print_table
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from tallystick.billing.usage_bill import UsageBill
    from tallystick.domain.meters import Meter
    from tallystick.domain.usage_windows import WindowSize
    from tallystick.wiring import Tallystick


def usage(
    customer: str = typer.Argument(..., help="Your customer's id."),
    meter: str | None = typer.Option(None, help="One meter; else all."),
    from_: str = typer.Option(
        "1970-01-01", "--from", help="From when, like 2015-05-01 or RFC 3339; else from the start."
    ),
    to: str | None = typer.Option(None, help="Until when, exclusive; else now."),
    window: str | None = typer.Option(None, help="Cut into hour, day or month of UTC."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show a customer's measured usage.

    Example: `tallystick usage acme --from 2015-05-01 --to 2015-06-01 --window day`
    """
    from tallystick.domain.instants import parse_instant
    from tallystick.domain.periods import Period
    from tallystick.oversight.usage_view import usage_view

    with opened() as product:
        size = _window(window)
        try:
            end_at = parse_instant(to) if to else product.clock.now()
            period = Period(parse_instant(from_), end_at)
        except ValueError as error:
            raise InputError("invalid_period", str(error)) from None
        meters = meters_named(product, meter)
        try:
            shown = usage_view(product.usage, meters, customer, period, size)
        except ValueError as error:
            raise InputError("invalid_window", str(error)) from None
    if as_json:
        print_json(shown)
    else:
        _print_usage(shown)


def preview(
    customer: str = typer.Argument(..., help="Your customer's id."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Rate what a customer used so far in the current billing period: the bill, if it closed now.

    Example: `tallystick preview acme`
    """
    from tallystick.billing.usage_bill import Biller

    with opened() as product:
        link = product.customers.find(customer)
        if link is None:
            raise InputError(
                "not_linked", f"{customer!r} is not linked; see `tallystick customers link`"
            )
        periods = product.billing_periods()
        now = periods.now_of(link)
        current = [item for item in periods.items(link, now) if now in item.period]
        bill = Biller(product.usage, product.catalog).bill(customer, current, now)
    shown = _bill_json(customer, bill)
    if as_json:
        print_json(shown)
    else:
        _print_bill(shown)


def _window(text: str | None) -> WindowSize | None:
    from tallystick.domain.usage_windows import WindowSize

    if text is None:
        return None
    try:
        return WindowSize(text)
    except ValueError:
        raise InputError(
            "invalid_window", f"window is {text!r}; it can be {', '.join(WindowSize)}"
        ) from None


def meters_named(product: Tallystick, key: str | None) -> list[Meter]:
    """Return the meter of that key, or all of them where none is named.

    Raises:
        InputError: there is none of that key.
    """
    known = product.catalog.meters().by_key
    if key is None:
        return list(known.values())
    if key not in known:
        shown = ", ".join(sorted(known)) or "none yet"
        raise InputError("unknown_meter", f"there is no meter {key!r}; meters: {shown}")
    return [known[key]]


def _print_usage(shown: dict[str, Any]) -> None:
    rows = []
    for meter in shown["usage"]:
        rows.append((meter["meter"], meter["quantity"]))
        for each in meter.get("groups", ()):
            group = ", ".join(f"{name} {value}" for name, value in each["group"].items())
            rows.append((f"  {group}", each["quantity"]))
        rows += [(f"  {each['from']}", each["quantity"]) for each in meter.get("windows", ())]
    title = f"{shown['customer']}, {shown['from']} to {shown['to']}"
    if rows:
        print_table(title, ("meter", "quantity"), rows)
    else:
        console().print(f"{title}: no meter is declared yet; `tallystick apply` declares them")


def _bill_json(customer: str, bill: UsageBill) -> dict[str, Any]:
    from tallystick.domain.instants import format_instant
    from tallystick.domain.quantity import plain

    total = bill.total
    return {
        "customer": customer,
        "currency": total.currency if total else None,
        "amount": total.amount_minor if total else 0,
        "items": [
            {
                "subscription_item": charge.item.stripe_item_id,
                "meter": charge.meter_key,
                "from": format_instant(charge.item.period.start_at),
                "to": format_instant(charge.item.period.end_at),
                "quantity": plain(charge.quantity),
                "amount": charge.charge.amount_minor,
                "lines": [
                    {
                        "description": line.description,
                        "quantity": plain(line.quantity),
                        "amount": line.amount_minor,
                    }
                    for line in charge.charge.lines
                ],
            }
            for charge in bill.charges
        ],
        "unpriced_items": [item.stripe_item_id for item in bill.unpriced],
    }


def _print_bill(shown: dict[str, Any]) -> None:
    from tallystick.domain.money import Money, format_money

    currency = shown["currency"]
    if currency is None:
        console().print(f"{shown['customer']} has no current usage-based subscription item")
        return
    rows = [
        (line["description"], line["quantity"], format_money(Money(line["amount"], currency)))
        for item in shown["items"]
        for line in item["lines"]
    ]
    rows.append(("total", "", format_money(Money(shown["amount"], currency))))
    print_table(f"{shown['customer']}, until now", ("line", "quantity", "amount"), rows)
    for item in shown["unpriced_items"]:
        console().print(f"{item}: its price is not in the catalog, so it is not in this preview")
