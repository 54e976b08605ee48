"""Legacy plans: recurring prices at their older address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.resources.prices import read_currency
from tallystick.sandbox.resources.pricing import read_amounts, read_recurring, read_transform
from tallystick.sandbox.resources.products import find_product, new_product
from tallystick.sandbox.shapes.prices import render_plan
from tallystick.sandbox.state.records import Price
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.wire.operations import Call

_RECURRING = ("interval", "interval_count", "usage_type", "meter", "aggregate_usage")


def create_plan(call: Call) -> dict[str, Any]:
    """Create a plan; unlike a price it may choose its id.

    Raises:
        StripeError: 400, a taken id or what a price would be refused for.
    """
    account, params = call.account, call.params
    if params.get("id") in account.prices:
        raise refused("Plan already exists.", "id", "resource_already_exists")
    terms = {
        name.replace("amount", "unit_amount"): params[name]
        for name in params
        if name in ("amount", "amount_decimal")
    }
    terms |= {
        name: params[name] for name in ("billing_scheme", "tiers", "tiers_mode") if name in params
    }
    amounts = read_amounts(terms, "")
    divide_by, divide_round = read_transform(params.get("transform_usage"), terms)
    given = {name: params[name] for name in _RECURRING if name in params}
    given["trial_period_days"] = params.get("trial_period_days")
    recurring = read_recurring(account, given, call.version)
    product = params.get("product")
    if product is None:
        raise refused("Missing required param: product.", "product", "parameter_missing")
    if isinstance(product, dict):
        product = new_product(account, product).id
    else:
        find_product(account, product)
    plan = Price(
        id=params.get("id") or account.ids.make("plan"),
        created=call.now(),
        currency=read_currency(params["currency"]),
        product=product,
        amounts=amounts,
        active=params.get("active", True),
        recurring=recurring,
        billing_scheme=params.get("billing_scheme", "per_unit"),
        tiers_mode=params.get("tiers_mode"),
        divide_by=divide_by,
        divide_round=divide_round,
        nickname=params.get("nickname") or None,
        metadata=merged_metadata({}, params.get("metadata")),
    )
    account.prices.add(plan)
    emit(account, "plan.created", render_plan(plan))
    return render_plan(plan)


def _in_path(call: Call) -> Price:
    plan = call.account.prices.get(call.path["plan"])
    if plan is None or plan.recurring is None:
        raise missing("plan", call.path["plan"], "plan")
    return plan


def retrieve_plan(call: Call) -> dict[str, Any]:
    """Return a plan."""
    return render_plan(_in_path(call))


def update_plan(call: Call) -> dict[str, Any]:
    """Change a plan's labels."""
    plan, params = _in_path(call), call.params
    before = render_plan(plan)
    if "active" in params:
        plan.active = params["active"]
    if "nickname" in params:
        plan.nickname = params["nickname"] or None
    if "metadata" in params:
        plan.metadata = merged_metadata(plan.metadata, params["metadata"])
    emit(call.account, "plan.updated", render_plan(plan), before=before)
    return render_plan(plan)


def delete_plan(call: Call) -> dict[str, Any]:
    """Delete a plan: nobody new can subscribe, those who have go on (DOC:api/plans/delete)."""
    plan = _in_path(call)
    plan.active = False
    emit(call.account, "plan.deleted", render_plan(plan))
    return {"id": plan.id, "object": "plan", "deleted": True}


def list_plans(call: Call) -> dict[str, Any]:
    """List plans."""
    wanted = call.params
    return list_page(
        call,
        call.account.prices,
        render_plan,
        noun="plan",
        where=lambda p: (
            p.recurring is not None
            and in_range(p.created, wanted.get("created"))
            and wanted.get("active", p.active) == p.active
        ),
        product=wanted.get("product"),
    )


OPERATIONS = (
    Operation(
        "POST",
        "/v1/plans",
        create_plan,
        "active aggregate_usage amount amount_decimal billing_scheme currency id interval "
        "interval_count metadata meter nickname product.active product.id product.metadata "
        "product.name product.statement_descriptor product.unit_label tiers tiers_mode "
        "transform_usage trial_period_days usage_type",
    ),
    Operation(
        "GET", "/v1/plans", list_plans, "active created ending_before limit product starting_after"
    ),
    Operation("GET", "/v1/plans/{plan}", retrieve_plan),
    Operation("POST", "/v1/plans/{plan}", update_plan, "active metadata nickname"),
    Operation("DELETE", "/v1/plans/{plan}", delete_plan),
)
