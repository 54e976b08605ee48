"""Catalog files: what they may declare, and how what they may not is named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tallystick.billing.catalog_file import read_catalog, read_catalog_texts
from tallystick.domain.catalog.objects import Catalog, CatalogError, PlanItem, Position
from tallystick.domain.catalog.prices import definition_of
from tallystick.domain.catalog.warnings import catalog_warnings
from tallystick.domain.meters import PropertyFilter, TimeUnit
from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.commitments import Commitment
from tallystick.domain.rating.prices import UsageType, price_from_stripe
from tallystick.domain.rating.spend_caps import SpendCap
from tallystick.wiring import Tallystick
from tests.catalog.shop import BASE, write
from tests.fixtures.paths import CATALOG_FILE

METERS = "meters:\n  calls: {event_type: call, aggregation: count}\n"


def read(text: str) -> Catalog:
    return read_catalog_texts([("c.yaml", text)])


def problems_of(text: str) -> list[tuple[int | None, str]]:
    """Return the line and field of each problem."""
    with pytest.raises(CatalogError) as caught:
        read(text)
    return [
        (problem.position.line if problem.position else None, problem.field)
        for problem in caught.value.problems
    ]


def priced(fields: str) -> str:
    """Return a catalog of one price, whose fields begin in line 7."""
    indented = "".join(f"        {line}\n" for line in fields.splitlines())
    return f"{METERS}products:\n  api:\n    prices:\n      one:\n{indented}"


def message_of(text: str) -> str:
    with pytest.raises(CatalogError) as caught:
        read(text)
    return str(caught.value)


def test_the_example_says_the_same_as_ever() -> None:
    catalog = read_catalog(CATALOG_FILE)
    assert [meter.key for meter in catalog.meters] == ["api_requests", "bandwidth_bytes"]
    assert [price.key for price in catalog.prices] == [
        "web_api_requests_monthly",
        "web_api_bandwidth_monthly",
    ]
    assert catalog.prices[1].price.unit_amount == Decimal("0.000005")


def test_everything_that_can_be_declared_is_read() -> None:
    catalog = read(
        BASE.replace("aggregation: count}", "aggregation: count, report_every_minutes: 15}")
        + "    spend_caps: {usd: 900000}\n"
    )
    calls, storage = catalog.meters
    assert (calls.report_every_minutes, storage.report_every_minutes) == (15, None)
    assert [price.key for price in catalog.prices] == [
        "calls_monthly",
        "storage_monthly_usd",
        "storage_monthly_jpy",
        "seats_monthly",
    ]
    yen = catalog.price_of("storage_monthly", "jpy")
    assert yen is not None
    assert (yen.price.tax_behavior, yen.meter_key) == ("inclusive", "storage")
    seats = catalog.price_of("seats_monthly", "usd")
    assert seats is not None
    assert (seats.price.usage_type, seats.meter_key) == (UsageType.LICENSED, None)
    (plan,) = catalog.plans
    assert plan.items == (PlanItem("calls_monthly"), PlanItem("seats_monthly", 5))
    assert plan.currencies == ("usd",)
    assert plan.commitments == {"usd": Commitment(50_000, "usd", 12)}
    assert plan.spend_caps == {"usd": SpendCap(900_000, "usd")}
    assert catalog_warnings(catalog) == ()


def test_a_version_of_a_meter_has_a_key_of_its_own() -> None:
    catalog = read(BASE.replace("aggregation: count", "aggregation: count, version: 3"))
    assert catalog.meters[0].key == "calls_v3"
    assert catalog.prices[0].meter_key == "calls_v3"


def test_numbers_keep_every_digit_however_they_are_written() -> None:
    text = priced("meter: calls\ncurrency: usd\nunit_amount_decimal: 0.000000000001")
    (price,) = read(text).prices
    assert price.price.unit_amount == Decimal("1E-12")
    assert definition_of(price.price)["unit_amount_decimal"] == "0.000000000001"


def test_a_definition_is_read_back_as_the_same_price() -> None:
    for price in read(BASE).prices:
        product = {"name": "API", "unit_label": "call"}
        again = {**definition_of(price.price), "lookup_key": price.key, "product_data": product}
        assert price_from_stripe(again) == price.price


def test_every_mistake_of_a_file_is_named_with_its_line_and_field() -> None:
    assert problems_of(
        "meters:\n"
        "  a: {event_type: x, aggregation: nope}\n"
        "  b:\n"
        "    event_type: x\n"
        "    aggregation: sum\n"
        "    decimals: 13\n"
        "    colour: red\n"
        "  b: {event_type: x, aggregation: sum}\n"
        "products:\n"
        "  p:\n"
        "    prices:\n"
        "      one:\n"
        "        meter: missing\n"
        "        currency: usd\n"
        "        unit_amount_decimal: '0.1234567890123'\n"
        "plans:\n"
        "  q: {items: [two]}\n"
        "currency: usd\n"
    ) == [
        (2, "meters.a.aggregation"),
        (8, "meters.b"),
        (13, "products.p.prices.one.meter"),
        (15, "products.p.prices.one.unit_amount_decimal"),
        (17, "plans.q.items[0].price"),
        (18, "currency"),
    ]


TIERED = "meter: calls\ncurrency: usd\nbilling_scheme: tiered\ntiers_mode: graduated\ntiers:\n"


@pytest.mark.parametrize(
    ("fields", "line", "field", "message"),
    [
        (TIERED + "  - {up_to: 10, unit_amount: 1}\n  - {up_to: 5, unit_amount: 1}\n"
         "  - {up_to: inf, unit_amount: 1}", 13, "tiers[1].up_to", "must ascend"),
        (TIERED + "  - {up_to: 10, unit_amount: 1}\n  - {up_to: 10, unit_amount: 1}\n"
         "  - {up_to: inf, unit_amount: 1}", 13, "tiers[1].up_to", "must ascend"),
        (TIERED + "  - {up_to: 10, unit_amount: 1}", 12, "tiers[0].up_to", "must have up_to inf"),
        (TIERED + "  - {up_to: inf, unit_amount: 1}\n  - {up_to: inf, unit_amount: 1}", 12,
         "tiers[0].up_to", "Only the last tier"),
        (TIERED + "  - {up_to: inf, unit_amount: 1, price: 3}", 12, "tiers[0].price",
         "is not a field"),
        (TIERED + "  - {up_to: inf, unit_amount: 1}\ntransform_quantity: {divide_by: 5, round: up}",
         13, "transform_quantity", "cannot be combined with tiers"),
        ("meter: calls\ncurrency: usd\nunit_amount_decimal: '0.0000000000001'", 9,
         "unit_amount_decimal", "at most 12 decimal places"),
        ("meter: calls\ncurrency: usd\nunit_amount: 1.5", 9, "unit_amount", "Invalid integer"),
        ("meter: calls\ncurrency: usd\nunit_amount: .nan", 9, "unit_amount", "Invalid integer"),
        ("meter: calls\ncurrency: usd\nunit_amount: -1", 9, "unit_amount", "0 or more"),
        ("meter: calls\ncurrency: dollars\nunit_amount: 1", 8, "currency", "three-letter"),
        ("meter: calls\nunit_amount: 1", 6, "currency", "needs a currency"),
        ("meter: calls\ncurrency: usd\nunit_amount: 1\ntax_behavior: maybe", 10, "tax_behavior",
         "not one of"),
        ("meter: calls\ncurrency: usd\nunit_amount: 1\nrecurring: {interval: hour}", 10,
         "recurring.interval", "is not an interval"),
        ("meter: calls\ncurrency: usd\nunit_amount: 1\nrecurring: {usage_type: licensed}", 10,
         "recurring.usage_type", "is metered here"),
        ("currency: usd\nunit_amount: 1", 6, "meter", "needs the meter"),
        ("meter: calls\ncurrencies: {usd: {unit_amount: 1}}\nunit_amount: 1", 9, "unit_amount",
         "each currency"),
        ("meter: calls\ncurrencies:\n  usd: {unit_amount: 1}\n  eur: {unit_amount: 1.5}", 10,
         "currencies.eur.unit_amount", "Invalid integer"),
        ("meter: calls\ncurrencies:\n  usd: {unit_amount: 1}\n  eur: {}", 10,
         "currencies.eur.unit_amount",
         "needs unit_amount"),
    ],
)  # fmt: skip
def test_a_price_that_cannot_be_is_named_with_file_line_and_field(
    fields: str, line: int, field: str, message: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        read(priced(fields))
    first = caught.value.problems[0]
    assert first.position == Position("c.yaml", line)
    assert first.field == f"products.api.prices.one.{field}"
    assert message in first.message
    assert str(caught.value).startswith(f"c.yaml:{line}: ")


def plan_of(fields: str) -> str:
    return f"{BASE[: BASE.index('plans:')]}plans:\n  p: {{{fields}}}\n"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("items: []", "p.items: a plan needs at least one price"),
        ("items: [calls_monthly, calls_monthly]", "the price calls_monthly has an item already"),
        ("items: [{price: calls_monthly, quantity: 5}]", "its quantity is the usage"),
        ("items: [seats_monthly, storage_monthly]", "seats_monthly has no price in jpy"),
        ("items: [storage_monthly], currencies: [eur]", "storage_monthly has no price in eur"),
        ("items: [calls_monthly], commitments: {eur: {minimum: 5}}", "no prices in eur"),
        ("items: [calls_monthly], commitments: {usd: {minimum: 0}}", "0 is not between 1 and"),
        ("items: [calls_monthly], spend_caps: {usd: 1.5}", "is not a whole number"),
    ],
)
def test_a_plan_that_cannot_be_is_named(fields: str, message: str) -> None:
    assert message in message_of(plan_of(fields))


def test_two_items_for_one_meter_would_bill_its_usage_twice() -> None:
    second = BASE.replace(
        "      seats_monthly:\n",
        "      more_calls: {meter: calls, currency: usd, unit_amount: 1}\n      seats_monthly:\n",
    ).replace("items: [calls_monthly,", "items: [calls_monthly, more_calls,")
    assert "the meter calls has an item already: items[0]" in message_of(second)


def test_a_plan_has_at_most_twenty_items() -> None:
    meters = "".join(f"  m{n}: {{event_type: e, aggregation: sum}}\n" for n in range(21))
    prices = "".join(
        f"      p{n}: {{meter: m{n}, currency: usd, unit_amount: 1}}\n" for n in range(21)
    )

    def text(count: int) -> str:
        items = ", ".join(f"p{n}" for n in range(count))
        return (
            f"meters:\n{meters}products:\n  x:\n    prices:\n{prices}"
            f"plans:\n  all: {{items: [{items}]}}\n"
        )

    assert len(read(text(20)).plans[0].items) == 20
    assert "21 items: a subscription at Stripe has at most 20" in message_of(text(21))


@pytest.mark.parametrize("mode", ["graduated", "volume"])
def test_a_flat_fee_of_the_first_tier_is_warned_about_with_the_way_around_it(mode: str) -> None:
    tiers = "  - {up_to: 10, unit_amount: 5, flat_amount: 900}\n  - {up_to: inf, unit_amount: 1}"
    (warning,) = catalog_warnings(read(priced(TIERED.replace("graduated", mode) + tiers)))
    assert str(warning).startswith("c.yaml:12: products.api.prices.one.tiers[0].flat_amount: bills")
    assert "$9.00 at zero usage" in warning.message
    assert '{up_to: 1, unit_amount_decimal: "905"}' in warning.message


def test_the_documented_way_around_bills_nothing_at_zero_and_the_fee_from_the_first_unit() -> None:
    fee = "  - {up_to: 10, unit_amount: 5, flat_amount: 900}\n  - {up_to: inf, unit_amount: 1}"
    around = (
        '  - {up_to: 1, unit_amount_decimal: "905"}\n  - {up_to: 10, unit_amount: 5}\n'
        "  - {up_to: inf, unit_amount: 1}"
    )
    (with_fee,), (without,) = (read(priced(TIERED + tiers)).prices for tiers in (fee, around))
    amounts = [
        (
            rate(with_fee.price, Decimal(n)).amount_minor,
            rate(without.price, Decimal(n)).amount_minor,
        )
        for n in (0, 1, 2, 10, 11)
    ]
    assert amounts == [(900, 0), (905, 905), (910, 910), (950, 950), (951, 951)]
    assert catalog_warnings(read(priced(TIERED + around))) == ()


def test_three_decimal_currencies_are_warned_about_where_stripe_takes_only_tens() -> None:
    text = priced(
        TIERED.replace("usd", "kwd") + "  - {up_to: 5, unit_amount: 1}\n"
        "  - {up_to: inf, unit_amount: 1, flat_amount: 1005}"
    )
    (warning,) = catalog_warnings(read(text))
    assert (warning.field, warning.position) == (
        "products.api.prices.one.tiers[1]",
        Position("c.yaml", 13),
    )


def test_several_files_and_folders_are_one_catalog(tmp_path: Path) -> None:
    meters, rest = BASE.split("products:")
    write(tmp_path, meters, "10-meters.yaml")
    write(tmp_path, f"products:{rest}", "20-products.yml")
    write(tmp_path, "not: yaml: at all", "notes.txt")
    by_files = read_catalog(tmp_path / "20-products.yml", tmp_path / "10-meters.yaml")
    assert read_catalog(tmp_path).prices == by_files.prices == read(BASE).prices


def test_what_two_files_declare_is_refused_with_both_places(tmp_path: Path) -> None:
    first, second = write(tmp_path, BASE, "a.yaml"), write(tmp_path, METERS, "b.yaml")
    with pytest.raises(CatalogError) as caught:
        read_catalog(first, second)
    (problem,) = caught.value.problems
    assert str(problem) == f"{second}:2: meters.calls: is declared at {first}:2 already"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("meters: [unclosed", "c.yaml:1: is not valid YAML"),
        ("meters:\n\t- tab", "c.yaml:2: is not valid YAML"),
        ("meters: \x00", "is not valid YAML: unacceptable character"),
        ("- " * 5_000, "is not valid YAML: it cannot be parsed"),
        ("a: !!timestamp x", "is not valid YAML: it cannot be parsed"),
        ("- a\n- list\n", "must be sections"),
        ("meters: 5\n", "c.yaml:1: meters: must be keys"),
        ("meters: {x: 5}\n", "c.yaml:1: meters.x: must be fields"),
        ("? [a]\n: 1\n", "a key must be a text"),
        ("a: &a [*a]\n", "nested too deep"),
        ("a: !!python/object:os.system {}\n", "is not valid YAML"),
    ],
)
def test_what_is_no_catalog_is_refused(text: str, message: str) -> None:
    assert message in message_of(text)


def test_a_nest_of_aliases_does_not_unfold_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "unfolds to too many values" in message_of("\n".join(lines))


def test_anchors_and_merged_fields_can_be_used() -> None:
    text = priced("<<: &terms {currency: usd, unit_amount: 1}\nmeter: calls\nunit_amount: 2")
    assert read(text).prices[0].price.unit_amount == 2


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"#" * 5_000_001])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"c\.yaml:1: "):
        read_catalog(path)


def test_a_file_or_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(CatalogError):
            read_catalog(path)


SELECTING = """\
meters:
  users:
    event_type: seen
    aggregation: unique_count
    property: user_id
    filters: {tier: [1, 2.5, true], region: eu}
    group_by: [region]
  seats: {event_type: seat, aggregation: time_weighted, per: day}
"""


def test_a_meter_says_which_events_it_takes_and_what_it_reads_of_them() -> None:
    users, seats = read(SELECTING).meters
    assert users.counted_property == "user_id"
    assert users.filters == (
        PropertyFilter("tier", ("1", "2.5", "true")),
        PropertyFilter("region", ("eu",)),
    )
    assert users.filters[0].passes({"tier": True})
    assert (users.group_by, users.per, seats.per) == (("region",), TimeUnit.HOUR, TimeUnit.DAY)


def test_every_field_of_a_meter_is_kept(product: Tallystick) -> None:
    catalog = read(SELECTING)
    ids = {meter.key: f"mtr_{meter.key}" for meter in catalog.meters}
    product.catalog.keep(catalog, ids, {}, 0)
    kept = product.catalog.meters().by_key
    assert [kept[meter.key] for meter in catalog.meters] == list(catalog.meters)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("    property: user_id\n", "", "meters.users.property"),
        ("    aggregation: unique_count\n", "    aggregation: sum\n", "meters.users.property"),
        ("region: eu}", "region: []}", "meters.users.filters.region"),
        ("region: eu}", "region: null}", "meters.users.filters.region"),
        ("group_by: [region]", "group_by: [5]", "meters.users.group_by[0]"),
        ("per: day", "per: fortnight", "meters.seats.per"),
        ("aggregation: time_weighted", "aggregation: max", "meters.seats.per"),
    ],
)
def test_a_selection_that_cannot_be_is_named(old: str, new: str, field: str) -> None:
    assert old in SELECTING
    assert [shown for _, shown in problems_of(SELECTING.replace(old, new))] == [field]
