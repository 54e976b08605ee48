"""A whole invoice: the charges of its items and, in this order, what changes them.

1. items: each quantity at its price (``charges``), one line after the other;
2. spend cap: a negative line for what usage costs beyond it;
3. discounts, split over the lines;
4. minimum commitment: a line for what is missing after discounts, itself not discounted;
5. credits: after discounts and before tax, as Stripe applies them, to metered lines;
6. tax, line by line, on what is left.

The invoice is the sum of its lines at every step: nothing is rounded on totals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.money import USAGE_LINE_ROUNDING, MoneyError, Rounding
from tallystick.domain.quantity import ZERO
from tallystick.domain.rating.charges import Charge, rate_all
from tallystick.domain.rating.commitments import true_up_invoice
from tallystick.domain.rating.credits import (
    CreditableLine,
    CreditGrant,
    CreditStatement,
    draw_credits,
)
from tallystick.domain.rating.descriptions import describe_unit_amount
from tallystick.domain.rating.discounts import Discount, apply_discounts
from tallystick.domain.rating.prices import Price, UsageType
from tallystick.domain.rating.spend_caps import SpendCap, cap_spend
from tallystick.domain.rating.tax import TaxAmount, TaxRate, tax_line

if TYPE_CHECKING:
    from tallystick.domain.rating.commitments import Commitment

_NO_CREDITS = CreditStatement((), {})


class InvoiceLine(NamedTuple):
    """A line and what was taken from it and added to it, all in minor units.

    ``amount_minor`` is before discounts, credits and tax; ``discounts_minor`` and ``taxes`` have
    one entry for each discount and tax rate of the invoice, in order.
    """

    quantity: Decimal
    amount_minor: int
    description: str
    discounts_minor: tuple[int, ...] = ()
    credits_minor: int = 0
    taxes: tuple[TaxAmount, ...] = ()

    @property
    def net_minor(self) -> int:
        """What the line comes to after discounts and credits; inclusive tax is contained."""
        return self.amount_minor - sum(self.discounts_minor) - self.credits_minor

    @property
    def exclusive_tax_minor(self) -> int:
        """The tax that is added to the line."""
        return sum(tax.amount_minor for tax in self.taxes if not tax.rate.inclusive)


@dataclass(frozen=True, slots=True)
class InvoiceTerms:
    """What applies to an invoice beside its items. ``finalized_at`` decides which credits count."""

    discounts: tuple[Discount, ...] = ()
    spend_cap: SpendCap | None = None
    minimum: Commitment | None = None
    credit_grants: tuple[CreditGrant, ...] = ()
    finalized_at: int = 0
    tax_rates: tuple[TaxRate, ...] = ()


NO_TERMS = InvoiceTerms()


@dataclass(frozen=True, slots=True)
class RatedInvoice:
    """An invoice as it will be; amounts in minor units of ``currency``."""

    currency: str
    charges: tuple[Charge, ...]
    lines: tuple[InvoiceLine, ...]
    credits: CreditStatement

    @property
    def subtotal_minor(self) -> int:
        """The sum of the lines before discounts, credits and tax."""
        return sum([line.amount_minor for line in self.lines])

    @property
    def total_minor(self) -> int:
        """What the customer owes: the sum of the lines with all that was taken and added."""
        return sum([line.net_minor + line.exclusive_tax_minor for line in self.lines])

    @property
    def trace(self) -> tuple[str, ...]:
        """Every step from the quantities to the total, for people; written when asked for."""
        steps = [step for charge in self.charges for step in charge.trace]
        rated = sum(len(charge.lines) for charge in self.charges)
        for number, line in enumerate(self.lines, 1):
            steps.extend(_line_steps(number, line, self.currency, is_rated=number <= rated))
        steps.extend(
            f"credit {draw.grant_key} pays {_shown(draw.amount_minor, self.currency)} "
            f"of line {draw.line + 1}"
            for draw in self.credits.draws
        )
        steps.append(
            f"subtotal {_shown(self.subtotal_minor, self.currency)}, "
            f"total {_shown(self.total_minor, self.currency)}"
        )
        return tuple(steps)


def rate_invoice(
    items: Sequence[tuple[Price, Decimal]],
    terms: InvoiceTerms = NO_TERMS,
    *,
    currency: str,
    rounding: Rounding = USAGE_LINE_ROUNDING,
) -> RatedInvoice:
    """Rate the items, each a price with its quantity, into one invoice.

    Raises:
        MoneyError: a price, the cap or the minimum is in another currency.
        QuantityError: as ``rate`` does.
    """
    charges = tuple(rate_all(items, rounding=rounding))
    _check_currencies(charges, terms, currency)
    lines = [
        InvoiceLine(line.quantity, line.amount_minor, line.description)
        for charge in charges
        for line in charge.lines
    ]
    if terms is NO_TERMS:
        return RatedInvoice(currency, charges, tuple(lines), _NO_CREDITS)
    above_cap_minor = _cap(lines, charges, terms.spend_cap)
    _discount(lines, terms.discounts)
    _true_up(lines, terms)
    creditable = _creditable(lines, charges, above_cap_minor)
    credits_drawn = _credit(lines, creditable, terms, currency)
    if terms.tax_rates:
        lines = [line._replace(taxes=tax_line(line.net_minor, terms.tax_rates)) for line in lines]
    return RatedInvoice(currency, charges, tuple(lines), credits_drawn)


def _check_currencies(charges: Sequence[Charge], terms: InvoiceTerms, currency: str) -> None:
    found = {charge.price.currency for charge in charges}
    if terms.spend_cap is not None:
        found.add(terms.spend_cap.currency)
    if terms.minimum is not None:
        found.add(terms.minimum.currency)
    others = found - {currency}
    if others:
        raise MoneyError(f"an invoice in {currency} cannot charge {', '.join(sorted(others))}")


def _cap(lines: list[InvoiceLine], charges: Sequence[Charge], cap: SpendCap | None) -> int:
    """Add the cap's line and return what it takes back."""
    if cap is None:
        return 0
    usage_minor = sum(
        charge.amount_minor for charge in charges if charge.price.usage_type is UsageType.METERED
    )
    capped = cap_spend(cap, usage_minor)
    if capped is None:
        return 0
    lines.append(InvoiceLine(ZERO, capped.amount_minor, capped.description))
    return -capped.amount_minor


def _discount(lines: list[InvoiceLine], discounts: Sequence[Discount]) -> None:
    if not discounts:
        return
    splits = apply_discounts([line.amount_minor for line in lines], discounts)
    lines[:] = [
        line._replace(discounts_minor=tuple(split[index] for split in splits))
        for index, line in enumerate(lines)
    ]


def _true_up(lines: list[InvoiceLine], terms: InvoiceTerms) -> None:
    if terms.minimum is None:
        return
    line = true_up_invoice(terms.minimum, sum(line.net_minor for line in lines))
    if line is not None:
        undiscounted = tuple(0 for _ in terms.discounts)
        lines.append(InvoiceLine(ZERO, line.amount_minor, line.description, undiscounted))


def _creditable(
    lines: Sequence[InvoiceLine], charges: Sequence[Charge], above_cap_minor: int
) -> list[CreditableLine]:
    """Return what credits may pay of each rated line: metered prices alone.

    What the spend cap takes back is owed by nobody, so it is left out, the last usage first; lines
    that were added after the rated ones draw nothing.
    """
    creditable: list[CreditableLine] = []
    beyond = above_cap_minor
    prices = [charge.price for charge in charges for _ in charge.lines]
    for line, price in zip(reversed(lines[: len(prices)]), reversed(prices), strict=True):
        amount = max(line.net_minor, 0) if price.usage_type is UsageType.METERED else 0
        left_out = min(beyond, amount)
        beyond -= left_out
        creditable.append(CreditableLine(amount - left_out, price.key))
    creditable.reverse()
    return creditable


def _credit(
    lines: list[InvoiceLine],
    creditable: Sequence[CreditableLine],
    terms: InvoiceTerms,
    currency: str,
) -> CreditStatement:
    if not terms.credit_grants:
        return _NO_CREDITS
    statement = draw_credits(
        terms.credit_grants, creditable, currency=currency, at=terms.finalized_at
    )
    for draw in statement.draws:
        line = lines[draw.line]
        lines[draw.line] = line._replace(credits_minor=line.credits_minor + draw.amount_minor)
    return statement


def _line_steps(number: int, line: InvoiceLine, currency: str, *, is_rated: bool) -> list[str]:
    steps: list[str] = []
    if not is_rated:
        steps.append(f"line {number}: {line.description} {_shown(line.amount_minor, currency)}")
    taken = [f"discount {_shown(-minor, currency)}" for minor in line.discounts_minor if minor]
    if line.credits_minor:
        taken.append(f"credits {_shown(-line.credits_minor, currency)}")
    taken.extend(
        f"{tax.rate.display_name} {tax.rate.percentage}% "
        f"{'contained' if tax.rate.inclusive else 'added'} {_shown(tax.amount_minor, currency)}"
        for tax in line.taxes
    )
    if taken:
        steps.append(f"line {number}: {_shown(line.amount_minor, currency)}; {', '.join(taken)}")
    return steps


def _shown(amount_minor: int, currency: str) -> str:
    return describe_unit_amount(Decimal(amount_minor), currency)
