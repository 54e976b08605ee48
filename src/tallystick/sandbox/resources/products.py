"""Products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.shapes.products import render_product
from tallystick.sandbox.state.records import Product
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.operations import Call

_WRITABLE = "active description images metadata name statement_descriptor unit_label url"
_CLEARABLE = ("description", "statement_descriptor", "unit_label", "url")


def new_product(account: Account, params: dict[str, Any]) -> Product:
    """Create a product, also from a price's ``product_data``.

    Raises:
        StripeError: 400, the id is taken.
    """
    id_ = params.get("id") or account.ids.make("prod")
    if id_ in account.products:
        raise refused(f"Product already exists: {id_}", "id", "resource_already_exists")
    now = account.now(None)
    product = Product(id=id_, created=now, updated=now, name=params["name"])
    _apply(product, params)
    account.products.add(product)
    emit(account, "product.created", render_product(product))
    return product


def _apply(product: Product, params: dict[str, Any]) -> None:
    for name in ("active", "name"):
        if name in params:
            setattr(product, name, params[name])
    if "images" in params:
        product.images = params["images"] or []
    for name in _CLEARABLE:
        if name in params:
            setattr(product, name, params[name] or None)
    if "metadata" in params:
        product.metadata = merged_metadata(product.metadata, params["metadata"])


def find_product(account: Account, id_: str, param: str = "product") -> Product:
    """Return a product that a parameter names.

    Raises:
        StripeError: 400 resource_missing.
    """
    product = account.products.get(id_)
    if product is None:
        raise missing("product", id_, param, status=400)
    return product


def _in_path(call: Call) -> Product:
    product = call.account.products.get(call.path["id"])
    if product is None:
        raise missing("product", call.path["id"])
    return product


def create_product(call: Call) -> dict[str, Any]:
    """Create a product."""
    return render_product(new_product(call.account, call.params))


def retrieve_product(call: Call) -> dict[str, Any]:
    """Return a product, or what is left of a deleted one."""
    id_ = call.path["id"]
    if call.account.deleted.get(id_) == "product":
        return {"id": id_, "object": "product", "deleted": True}
    return render_product(_in_path(call))


def update_product(call: Call) -> dict[str, Any]:
    """Change a product."""
    product = _in_path(call)
    before = render_product(product)
    if "default_price" in call.params:
        wanted = call.params["default_price"]
        price = call.account.prices.get(wanted)
        if price is None or price.product != product.id:
            raise missing("price", wanted, "default_price", status=400)
        product.default_price = wanted
    _apply(product, call.params)
    product.updated = call.now()
    emit(call.account, "product.updated", render_product(product), before=before)
    return render_product(product)


def delete_product(call: Call) -> dict[str, Any]:
    """Delete a product that has no prices (DOC:api/products/delete)."""
    product = _in_path(call)
    if next(call.account.prices.matching("product", product.id), None) is not None:
        raise refused(
            "This product cannot be deleted because it has one or more user-created prices.", "id"
        )
    call.account.products.remove(product.id)
    call.account.deleted[product.id] = "product"
    emit(call.account, "product.deleted", render_product(product))
    return {"id": product.id, "object": "product", "deleted": True}


def list_products(call: Call) -> dict[str, Any]:
    """List products."""
    wanted = call.params
    ids = wanted.get("ids")
    return list_page(
        call,
        call.account.products,
        render_product,
        noun="product",
        where=lambda p: (
            in_range(p.created, wanted.get("created"))
            and wanted.get("active", p.active) == p.active
            and (ids is None or p.id in ids)
            and wanted.get("url", p.url) == p.url
        ),
    )


OPERATIONS = (
    Operation("POST", "/v1/products", create_product, f"{_WRITABLE} id type=service"),
    Operation(
        "GET",
        "/v1/products",
        list_products,
        "active created ending_before ids limit starting_after url",
    ),
    Operation("GET", "/v1/products/{id}", retrieve_product),
    Operation("POST", "/v1/products/{id}", update_product, f"{_WRITABLE} default_price"),
    Operation("DELETE", "/v1/products/{id}", delete_product),
)
