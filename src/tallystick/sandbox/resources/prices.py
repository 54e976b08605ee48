"""Prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.resources.pricing import (
    read_amounts,
    read_recurring,
    read_transform,
)
from tallystick.sandbox.resources.products import find_product, new_product
from tallystick.sandbox.shapes.prices import render_price
from tallystick.sandbox.state.records import Amounts, Price
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.operations import Call


def find_price(account: Account, id_: str, param: str, noun: str = "price") -> Price:
    """Return a price that a parameter names.

    Raises:
        StripeError: 400 resource_missing.
    """
    price = account.prices.get(id_)
    if price is None:
        raise missing(noun, id_, param, status=400)
    return price


def _in_path(call: Call) -> Price:
    price = call.account.prices.get(call.path["price"])
    if price is None:
        raise missing("price", call.path["price"], "price")
    return price


def create_price(call: Call) -> dict[str, Any]:
    """Create a price.

    Raises:
        StripeError: 400, amounts that do not go together, an unknown product or meter, a taken
            lookup key.
    """
    account, params = call.account, call.params
    currency = read_currency(params["currency"])
    amounts = read_amounts(params, "")
    divide_by, divide_round = read_transform(params.get("transform_quantity"), params)
    recurring = None
    if "recurring" in params:
        recurring = read_recurring(account, params["recurring"], call.version)
    options = {
        read_currency(code): read_amounts(given, f"currency_options[{code}]")
        for code, given in params.get("currency_options", {}).items()
    }
    options.pop(currency, None)
    _take_lookup_key(account, params)
    price = Price(
        id=account.ids.make("price"),
        created=call.now(),
        currency=currency,
        product=_product(account, params),
        amounts=amounts,
        active=params.get("active", True),
        recurring=recurring,
        billing_scheme=params.get("billing_scheme", "per_unit"),
        tiers_mode=params.get("tiers_mode"),
        divide_by=divide_by,
        divide_round=divide_round,
        currency_options=options,
        lookup_key=params.get("lookup_key") or None,
        nickname=params.get("nickname") or None,
        metadata=merged_metadata({}, params.get("metadata")),
    )
    store_price(account, price)
    return render_price(price)


def store_price(account: Account, price: Price) -> None:
    """Keep a new price and tell the webhooks."""
    account.prices.add(price)
    if price.lookup_key is not None:
        account.price_by_lookup_key[price.lookup_key] = price.id
    emit(account, "price.created", render_price(price))


def read_currency(code: str) -> str:
    """Return a currency code in lower case.

    Raises:
        StripeError: 400, not three letters.
    """
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        raise refused(f"Invalid currency: {code}.", "currency")
    return code.lower()


def _product(account: Account, params: dict[str, Any]) -> str:
    if "product_data" in params and "product" in params:
        raise refused("You may only specify one of these parameters: product, product_data.")
    if "product_data" in params:
        return new_product(account, params["product_data"]).id
    if "product" not in params:
        raise refused("Missing required param: product.", "product", "parameter_missing")
    product = find_product(account, params["product"])
    return product.id


def _take_lookup_key(account: Account, params: dict[str, Any], own: str | None = None) -> None:
    key = params.get("lookup_key")
    holder = account.price_by_lookup_key.get(key) if key else None
    if holder is None or holder == own:
        return
    if not params.get("transfer_lookup_key"):
        raise refused(f"A price (`{holder}`) already uses that lookup key.", "lookup_key")
    price = account.prices.get(holder)
    assert price is not None
    price.lookup_key = None


def retrieve_price(call: Call) -> dict[str, Any]:
    """Return a price."""
    return render_price(_in_path(call))


def update_price(call: Call) -> dict[str, Any]:
    """Change what may change of a price: amounts never do."""
    price, params, account = _in_path(call), call.params, call.account
    before = render_price(price)
    _take_lookup_key(account, params, price.id)
    if "lookup_key" in params:
        account.price_by_lookup_key.pop(price.lookup_key or "", None)
        price.lookup_key = params["lookup_key"] or None
        if price.lookup_key is not None:
            account.price_by_lookup_key[price.lookup_key] = price.id
    if "nickname" in params:
        price.nickname = params["nickname"] or None
    if "active" in params:
        price.active = params["active"]
    if "metadata" in params:
        price.metadata = merged_metadata(price.metadata, params["metadata"])
    if "tax_behavior" in params:
        _set_tax_behavior(price.amounts, params["tax_behavior"])
    if "currency_options" in params:
        for code, given in (params["currency_options"] or {}).items():
            price.currency_options[read_currency(code)] = read_amounts(
                given, f"currency_options[{code}]"
            )
    emit(account, "price.updated", render_price(price), before=before)
    return render_price(price)


def _set_tax_behavior(amounts: Amounts, wanted: str) -> None:
    if amounts.tax_behavior not in ("unspecified", wanted):
        raise refused(
            "The tax_behavior of a price cannot be changed once it is set to exclusive or "
            "inclusive.",
            "tax_behavior",
        )
    amounts.tax_behavior = wanted


def list_prices(call: Call) -> dict[str, Any]:
    """List prices."""
    wanted = call.params
    keys = wanted.get("lookup_keys")

    def matches(price: Price) -> bool:
        return (
            in_range(price.created, wanted.get("created"))
            and wanted.get("active", price.active) == price.active
            and wanted.get("currency", price.currency) == price.currency
            and wanted.get("type", _type(price)) == _type(price)
            and (keys is None or price.lookup_key in keys)
            and _recurs_as(price, wanted.get("recurring", {}))
        )

    return list_page(
        call,
        call.account.prices,
        render_price,
        noun="price",
        where=matches,
        product=wanted.get("product"),
    )


def _type(price: Price) -> str:
    return "recurring" if price.recurring else "one_time"


def _recurs_as(price: Price, wanted: dict[str, Any]) -> bool:
    return not wanted or (
        price.recurring is not None
        and all(getattr(price.recurring, name) == value for name, value in wanted.items())
    )


def find_or_make_price(
    call: Call, given: dict[str, Any], path: str, *, is_recurring: bool
) -> Price:
    """Return the price of an item: by ``price``, legacy ``plan``, or made from ``price_data``.

    Raises:
        StripeError: 400, none given or unknown.
    """
    account = call.account
    for name in ("price", "plan"):
        if given.get(name):
            return find_price(account, given[name], f"{path}[{name}]", name)
    inline = given.get("price_data")
    if inline is None:
        raise refused(
            f"Missing required param: {path}[price].", f"{path}[price]", "parameter_missing"
        )
    find_product(account, inline["product"], f"{path}[price_data][product]")
    amounts = read_amounts(inline, f"{path}[price_data]")
    recurring = None
    if is_recurring:
        recurring = read_recurring(account, inline["recurring"], call.version)
    price = Price(
        id=account.ids.make("price"),
        created=call.now(),
        currency=read_currency(inline["currency"]),
        product=inline["product"],
        amounts=amounts,
        active=False,
        recurring=recurring,
    )
    store_price(account, price)
    return price


OPERATIONS = (
    Operation(
        "POST",
        "/v1/prices",
        create_price,
        "active billing_scheme currency currency_options lookup_key metadata nickname product "
        "product_data.active product_data.id product_data.metadata product_data.name "
        "product_data.statement_descriptor product_data.unit_label recurring tax_behavior tiers "
        "tiers_mode transfer_lookup_key transform_quantity unit_amount unit_amount_decimal",
    ),
    Operation(
        "GET",
        "/v1/prices",
        list_prices,
        "active created currency ending_before limit lookup_keys product recurring "
        "starting_after type",
    ),
    Operation("GET", "/v1/prices/{price}", retrieve_price),
    Operation(
        "POST",
        "/v1/prices/{price}",
        update_price,
        "active currency_options lookup_key metadata nickname tax_behavior transfer_lookup_key",
    ),
)
