"""Whatever is sent, the answer is Stripe's own error or a documented object: never a 500.

Requests are generated from Stripe's parameter schemas, with ids of objects that exist, so that many
get past the first check; every answer is held against the OpenAPI facts. ``schemathesis`` runs the
same subset where it is installed.
"""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fixtures.patience import PATIENCE_SECONDS
from tests.sandbox.conformance import check_answer, openapi
from tests.sandbox.rig import MAY_2015, Rig, RunningSandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = 20
ATTEMPTS = 6
DAY_S = 86_400
RANKS = {"GET": 0, "POST": 1, "DELETE": 2}  # what deletes comes last
OPERATIONS = sorted(
    ((method.upper(), path) for path, methods in openapi()["paths"].items() for method in methods),
    key=lambda operation: (RANKS[operation[0]], operation[1]),
)
NEARLY_REQUIRED = {"customer", "subscription", "items", "unit_amount", "price", "amount"}
"""Not marked as required by the facts, but little gets through without them."""
TEXTS = [
    "",
    "a",
    "1",
    "-1",
    "http://127.0.0.1:9/x",
    "0.5",
    "1e3",
    "now",
    "inf",
    "usd",
    "eur",
    "ü",
    "x" * 300,
    "[]",
    "{}",
]
NUMBERS = [-1, 0, 1, 2, 5, 31, 100, 101, MAY_2015, MAY_2015 + DAY_S, MAY_2015 + 60 * DAY_S, 2**63]


class World:
    """An account with one of everything, and the ids by the names under which they are asked."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        meter = rig.meter()
        metered = rig.price(meter, unit_amount_decimal="0.5", lookup_key="calls")
        licensed = rig.price(unit_amount=1000)
        once = rig.v1.prices.create(
            {"currency": "usd", "unit_amount": 5, "product": licensed.product}
        )
        plan = rig.v1.plans.create(
            {"currency": "usd", "interval": "month", "amount": 5, "product": licensed.product}
        )
        clock = rig.clock()
        customer, other = rig.customer(clock), rig.customer()
        subscription = rig.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": metered.id}, {"price": licensed.id}]}
        )
        draft = rig.v1.invoices.create({"customer": customer.id})
        item = rig.v1.invoice_items.create(
            {"customer": customer.id, "amount": 500, "currency": "usd"}
        )
        rate = rig.v1.tax_rates.create({"display_name": "t", "percentage": 5, "inclusive": True})
        hook = rig.v1.webhook_endpoints.create(
            {"url": "http://127.0.0.1:9/none", "enabled_events": ["price.created"]}
        )
        invoice = rig.v1.invoices.retrieve(subscription.latest_invoice, {"expand": ["payments"]})
        payment = invoice.payments.data[0]
        method = rig.v1.payment_methods.list({"customer": customer.id}).data[0].id
        event = rig.v1.events.list({"limit": 1}).data[0].id
        rig.report(customer, 3, MAY_2015, identifier="known")
        self.ids: dict[str, list[str]] = {
            "customer": [customer.id, other.id],
            "price": [metered.id, licensed.id, once.id],
            "plan": [plan.id, licensed.id],
            "product": [licensed.product],
            "subscription": [subscription.id],
            "subscription_exposed_id": [subscription.id],
            "item": [one.id for one in subscription["items"].data],
            "subscription_item": [one.id for one in subscription["items"].data],
            "invoice": [draft.id, invoice.id],
            "invoiceitem": [item.id],
            "invoice_payment": [payment.id],
            "intent": [payment.payment.payment_intent],
            "payment_intent": [payment.payment.payment_intent],
            "payment_method": [method, "pm_card_visa", "pm_card_chargeCustomerFail"],
            "default_payment_method": [method],
            "test_clock": [clock.id],
            "tax_rate": [rate.id],
            "tax_rates": [rate.id],
            "default_tax_rates": [rate.id],
            "webhook_endpoint": [hook.id],
            "meter": [meter.id],
            "event_name": [meter.event_name, "other"],
            "identifier": ["known", "unknown"],
            "lookup_key": ["calls"],
            "stripe_customer_id": [customer.id],
            "value": ["1", "0.25", "1e5", "-2"],
        }
        self.by_path = {"/v1/billing/": [meter.id], "/v1/products/": [licensed.product]}
        self.event = event

    def ids_of(self, name: str, path: str) -> list[str]:
        """Return ids that fit a parameter's name, or an address's ``{id}``."""
        if name == "id":
            for prefix, ids in self.by_path.items():
                if path.startswith(prefix):
                    return ids
            return [*self.ids["item"], self.event]
        return self.ids.get(name, [])


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A sandbox of its own: what is generated may turn anything upside down."""
    with RunningSandbox() as running:
        yield World(Rig.fresh(running.url, "no-traceback"))


def parameters(
    world: World, schema: dict[str, Any], name: str, path: str
) -> st.SearchStrategy[Any]:
    """Return values for a parameter: plausible ones first, wrong ones among them."""
    wrong = st.sampled_from(TEXTS)
    if "anyOf" in schema:
        options = [parameters(world, one, name, path) for one in schema["anyOf"]]
        return st.one_of(*options, wrong)
    kind = schema.get("type")
    if kind == "object" and schema.get("properties"):
        return fields(world, schema, path)
    if kind == "object":
        keys = st.sampled_from(["stripe_customer_id", "value", "a"])
        known = {key: st.sampled_from([*world.ids_of(key, path), "7"]) for key in ("value", "a")}
        known["stripe_customer_id"] = st.sampled_from(world.ids["customer"])
        return st.fixed_dictionaries({}, optional=known) | st.dictionaries(keys, wrong, max_size=2)
    if kind == "array":
        return st.lists(parameters(world, schema["items"], name, path), max_size=3)
    if "enum" in schema:
        return st.sampled_from([*map(str, schema["enum"]), *map(str, schema["enum"]), "wat"])
    if kind == "integer":
        return st.sampled_from([*map(str, NUMBERS), "a"])
    if kind == "boolean":
        return st.sampled_from(["true", "false", "true", "false", "a"])
    ids = world.ids_of(name, path)
    if ids:
        return st.sampled_from([*ids * 6, "nobody"])
    if schema.get("format") == "decimal":
        return st.sampled_from(["0.5", "12", "0.000000000001", "1E-7", "", "x"])
    return st.sampled_from(["usd", "text", *TEXTS]) if "currency" in name else wrong


def fields(world: World, schema: dict[str, Any], path: str) -> st.SearchStrategy[Any]:
    """Return an object: the required fields nearly always, some of the others."""
    required = set(schema.get("required", ())) | (NEARLY_REQUIRED & set(schema["properties"]))
    every = {
        name: parameters(world, inner, name, path)
        for name, inner in schema["properties"].items()
        if name != "expand"
    }
    some = st.sets(st.sampled_from(sorted(every)), max_size=4) if every else st.just(set())
    return some.flatmap(
        lambda chosen: st.fixed_dictionaries(
            {name: every[name] for name in sorted(set(chosen) | (required & set(every)))}
        )
    )


def form(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested values as form fields."""
    if isinstance(value, dict):
        inner = [(f"{prefix}[{key}]" if prefix else key, one) for key, one in value.items()]
    elif isinstance(value, list):
        inner = [(f"{prefix}[{number}]", one) for number, one in enumerate(value)]
    else:
        return [(prefix, str(value))]
    return [pair for key, one in inner for pair in form(one, key)]


def send(world: World, method: str, path: str, params: Any) -> tuple[int, bytes]:
    """Send a generated request."""
    encoded = urlencode(form(params))
    connection = http.client.HTTPConnection(
        urlsplit(world.rig.url).netloc, timeout=PATIENCE_SECONDS
    )
    try:
        in_query = method == "GET" and encoded
        connection.request(
            method,
            f"{path}?{encoded}" if in_query else path,
            body=None if method == "GET" else encoded,
            headers={
                "Authorization": f"Bearer {world.rig.key}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def schema_of(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an operation as one object."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if content["schema"].get("properties"):
            found: dict[str, Any] = content["schema"]
            return found
    query = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
    return {
        "properties": {p["name"]: p["schema"] for p in query},
        "required": [p["name"] for p in query if p.get("required")],
    }


def drop_refused(params: dict[str, Any], body: bytes) -> bool:
    """Take out the parameter that an answer refuses, so that the rest gets its turn."""
    refused = json.loads(body).get("error", {}).get("param", "").partition("[")[0]
    return params.pop(refused, None) is not None


def probe(world: World, method: str, path: str) -> int:
    """Send generated requests to one operation and return how many were accepted."""
    operation = openapi()["paths"][path][method.lower()]
    names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"]
    ids = st.fixed_dictionaries(
        {name: st.sampled_from([*world.ids_of(name, path), "nobody"]) for name in names}
    )
    accepted = 0

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(ids=ids, params=fields(world, schema_of(operation), path))
    def once(ids: dict[str, str], params: Any) -> None:
        nonlocal accepted
        address = path
        for name, value in ids.items():
            address = address.replace(f"{{{name}}}", quote(value))
        for _ in range(ATTEMPTS):
            status, body = send(world, method, address, params)
            assert status < 500, (method, address, params, body)
            accepted += status == 200
            check_answer(method, address, status, body)
            if not drop_refused(params, body):
                return

    once()
    return accepted


@pytest.mark.parametrize("part", range(4))
def test_generated_requests_get_documented_answers(world: World, part: int) -> None:
    operations = [one for one in OPERATIONS[part::4] if "usage_record" not in one[1]]
    assert sum(probe(world, method, path) for method, path in operations) > 30


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/customers", "a[b=1", 400),
        ("/v1/customers", "metadata[a][b]=1", 400),
        ("/v1/customers", "metadata=x", 400),
        ("/v1/customers", "name=%ff%fe", 200),
        ("/v1/customers", "expand[]=nothing", 400),
        ("/v1/customers", "=1", 400),
        ("/v1/nonsense", "", 404),
        ("/v1/customers/", "", 200),
        ("/v2/billing/meter_events", "{not json", 400),
        ("/v2/billing/meter_events", "[1]", 400),
    ],
)
def test_broken_input_is_refused_in_stripes_words(
    world: World, path: str, body: str, status: int
) -> None:
    connection = http.client.HTTPConnection(
        urlsplit(world.rig.url).netloc, timeout=PATIENCE_SECONDS
    )
    connection.request("POST", path, body, {"Authorization": f"Bearer {world.rig.key}"})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    assert (answer.status, "error" in found) == (status, status != 200)


def test_schemathesis_finds_no_500(world: World) -> None:
    schemathesis: Any = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_dict(openapi())
    schema.config.base_url = world.rig.url
    for operation in schema.get_all_operations():
        strategy = operation.ok().as_strategy()

        @seed(1)
        @settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=strategy)
        def once(case: Any) -> None:
            answer = case.call(
                headers={"Authorization": f"Bearer {world.rig.key}"}, timeout=PATIENCE_SECONDS
            )
            assert answer.status_code < 500

        once()
