"""docs/rating.md: every worked table is executed, every code and setting is real."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tallystick.domain import money
from tallystick.domain.money import PRORATION_ROUNDING, Rounding, round_to_minor
from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.commitments import Commitment, draw_commitment
from tallystick.domain.rating.discounts import Discount, split_discount
from tallystick.domain.rating.marginal import rate_difference
from tallystick.domain.rating.prices import (
    BillingScheme,
    PackageRound,
    Price,
    Tier,
    TiersMode,
    TransformQuantity,
)
from tallystick.domain.rating.tax import TaxRate, tax_line

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rating.md").read_text()
RATED_BY = ("cli/price_file.py", *(f"domain/rating/{name}.py" for name in (
    "allowances", "charges", "price_limits", "prices", "proration", "stripe_fields",
)))  # fmt: skip


def table(name: str) -> list[dict[str, str]]:
    """Return the rows of the table that follows its marker."""
    after = PAGE.split(f"<!-- table: {name} -->\n", 1)[1]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in after.split("\n\n", 1)[0].splitlines()
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def each_row(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", table(name), ids=lambda row: "-".join(row.values()))


def integers(cell: str) -> list[int]:
    return [int(part) for part in cell.split()]


def tiers_of(cell: str) -> tuple[Tier, ...]:
    """Read ``1000:1 inf:0.5+20``."""
    tiers = []
    for written in cell.split():
        up_to, _, amounts = written.partition(":")
        unit, _, flat = amounts.partition("+")
        end = None if up_to == "inf" else int(up_to)
        tiers.append(Tier(end, Decimal(unit), Decimal(flat) if flat else None))
    return tuple(tiers)


def tiered(mode: TiersMode, cell: str) -> Price:
    return Price(
        currency="usd",
        billing_scheme=BillingScheme.TIERED,
        tiers_mode=mode,
        tiers=tiers_of(cell),
    )


def packages(cell: str) -> Price:
    """Read ``1000 per 60 up``."""
    amount, _, divide_by, direction = cell.split()
    return Price(
        currency="usd",
        unit_amount=Decimal(amount),
        transform_quantity=TransformQuantity(int(divide_by), PackageRound(direction)),
    )


PRICE_BY_ALGORITHM: dict[str, Callable[[str], Price]] = {
    "per-unit": lambda cell: Price(currency="usd", unit_amount=Decimal(cell)),
    "package": packages,
    "graduated": lambda cell: tiered(TiersMode.GRADUATED, cell),
    "volume": lambda cell: tiered(TiersMode.VOLUME, cell),
}


@each_row("charge")
def test_charges_are_as_the_page_says(row: dict[str, str]) -> None:
    charge = rate(PRICE_BY_ALGORITHM[row["algorithm"]](row["price"]), Decimal(row["quantity"]))
    assert integers(row["lines"]) == [line.amount_minor for line in charge.lines]
    assert int(row["total"]) == charge.amount_minor


@each_row("round")
def test_rounding_modes_are_as_the_page_says(row: dict[str, str]) -> None:
    for mode in Rounding:
        assert int(row[str(mode)]) == round_to_minor(Decimal(row["amount"]), mode)


@each_row("prorate")
def test_prorations_are_as_the_page_says(row: dict[str, str]) -> None:
    exact_amount, billed = Decimal(row["exact"]), int(row["billed"])
    assert billed == round_to_minor(exact_amount, PRORATION_ROUNDING)
    does_floor_fit = billed == round_to_minor(exact_amount, Rounding.FLOOR)
    assert row["floored"] == ("fits" if does_floor_fit else "does not fit")


@each_row("discount")
def test_discounts_are_as_the_page_says(row: dict[str, str]) -> None:
    written = row["discount"]
    discount = (
        Discount(percent_off=Decimal(written.removesuffix("%")))
        if written.endswith("%")
        else Discount(amount_off=int(written))
    )
    assert integers(row["taken"]) == list(split_discount(integers(row["lines"]), discount))


@each_row("tax")
def test_taxes_are_as_the_page_says(row: dict[str, str]) -> None:
    tax_rate = TaxRate(Decimal(row["rate"]), inclusive=row["kind"] == "inclusive")
    taxes = [tax_line(amount, [tax_rate])[0].amount_minor for amount in integers(row["lines"])]
    assert integers(row["tax"]) == taxes


@each_row("commitment")
def test_commitments_are_as_the_page_says(row: dict[str, str]) -> None:
    commitment = Commitment(int(row["minimum"]), "usd", int(row["periods"]))
    statement = draw_commitment(commitment, integers(row["charged"]))
    assert int(row["left"]) == statement.left_minor
    shown = "none" if statement.true_up is None else str(statement.true_up.amount_minor)
    assert row["true-up"] == shown


@each_row("difference")
def test_corrections_are_as_the_page_says(row: dict[str, str]) -> None:
    difference = rate_difference(
        tiered(TiersMode.GRADUATED, row["price"]), Decimal(row["billed"]), Decimal(row["right"])
    )
    assert integers(row["lines"]) == [line.amount_minor for line in difference.lines]
    assert int(row["total"]) == difference.amount_minor


def test_every_table_with_a_marker_is_executed() -> None:
    executed = set(re.findall(r'@each_row\("(\w+)"\)', Path(__file__).read_text()))
    assert executed == set(re.findall(r"<!-- table: (\w+) -->", PAGE))


def test_settings_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert dict(rows) == {
        name: str(value) for name, value in vars(money).items() if name.endswith("_ROUNDING")
    }


def test_every_code_of_a_refusal_is_on_the_page_and_no_other() -> None:
    raised: set[str] = set()
    for name in RATED_BY:
        source = (ROOT / "src" / "tallystick" / name).read_text()
        raised |= set(re.findall(r'(?:PriceError|QuantityError)\(\s*"(\w+)"', source))
        raised |= set(re.findall(r'read_whole\([^)]*"(\w+_\w+)"', source))
        raised |= {
            f"{choice}_invalid" for choice in re.findall(r'read_choice\(\w+, "(\w+)"', source)
        }
    quantity = (ROOT / "src" / "tallystick" / "domain" / "quantity.py").read_text()
    raised |= set(re.findall(r'QuantityError\(\s*"(\w+)"', quantity))
    assert raised == set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE))
