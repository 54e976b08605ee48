"""Tax rates, inclusive and exclusive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.shapes.prices import render_tax_rate
from tallystick.sandbox.state.records import TaxRate
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.wire.operations import Call

_TEXTS = ("country", "state", "jurisdiction", "description", "tax_type")
PERCENT_MAX = 100
DECIMALS_MAX = 4
"""DOC:api/tax_rates: a percentage has at most four decimal places."""


def create_tax_rate(call: Call) -> dict[str, Any]:
    """Create a tax rate.

    Raises:
        StripeError: 400, a percentage outside 0 to 100 or with more than four decimals.
    """
    account, params = call.account, call.params
    percentage = params["percentage"]
    exponent = percentage.as_tuple().exponent
    if not 0 <= percentage <= PERCENT_MAX:
        raise refused("Invalid percentage: must be between 0 and 100.", "percentage")
    if exponent < -DECIMALS_MAX:
        raise refused("Invalid percentage: at most four decimal places.", "percentage")
    rate = TaxRate(
        id=account.ids.make("txr"),
        created=call.now(),
        display_name=params["display_name"],
        percentage=percentage,
        inclusive=params["inclusive"],
        active=params.get("active", True),
        metadata=merged_metadata({}, params.get("metadata")),
        **{name: params.get(name) or None for name in _TEXTS},
    )
    account.tax_rates.add(rate)
    emit(account, "tax_rate.created", render_tax_rate(rate))
    return render_tax_rate(rate)


def _in_path(call: Call) -> TaxRate:
    rate = call.account.tax_rates.get(call.path["tax_rate"])
    if rate is None:
        raise missing("tax rate", call.path["tax_rate"])
    return rate


def retrieve_tax_rate(call: Call) -> dict[str, Any]:
    """Return a tax rate."""
    return render_tax_rate(_in_path(call))


def update_tax_rate(call: Call) -> dict[str, Any]:
    """Change a tax rate's labels; its percentage never changes."""
    rate, params = _in_path(call), call.params
    before = render_tax_rate(rate)
    for name in ("active", "display_name"):
        if name in params:
            setattr(rate, name, params[name])
    for name in _TEXTS:
        if name in params:
            setattr(rate, name, params[name] or None)
    if "metadata" in params:
        rate.metadata = merged_metadata(rate.metadata, params["metadata"])
    emit(call.account, "tax_rate.updated", render_tax_rate(rate), before=before)
    return render_tax_rate(rate)


def list_tax_rates(call: Call) -> dict[str, Any]:
    """List tax rates."""
    wanted = call.params
    return list_page(
        call,
        call.account.tax_rates,
        render_tax_rate,
        noun="tax rate",
        where=lambda r: (
            in_range(r.created, wanted.get("created"))
            and wanted.get("active", r.active) == r.active
            and wanted.get("inclusive", r.inclusive) == r.inclusive
        ),
    )


_WRITABLE = "active country description display_name jurisdiction metadata state tax_type"
OPERATIONS = (
    Operation("POST", "/v1/tax_rates", create_tax_rate, f"{_WRITABLE} inclusive percentage"),
    Operation(
        "GET",
        "/v1/tax_rates",
        list_tax_rates,
        "active created ending_before inclusive limit starting_after",
    ),
    Operation("GET", "/v1/tax_rates/{tax_rate}", retrieve_tax_rate),
    Operation("POST", "/v1/tax_rates/{tax_rate}", update_tax_rate, _WRITABLE),
)
