"""What is read from Stripe: account, summaries, invoices."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import MINUTE_US, from_seconds, to_seconds
from tallystick.domain.quantity import ZERO, add_all
from tallystick.ports.directory import Account
from tallystick.ports.errors import StripeUnreachable
from tallystick.ports.stripe import Invoice, InvoiceLine, RecordedUsage
from tallystick.stripe_gateway.versions import USAGE_RECORDS_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    import stripe

    from tallystick.domain.periods import Period
    from tallystick.stripe_gateway.connection import StripeConnection

PAGE_MAX = 100
"""Objects of one page: the most that Stripe gives."""


class AccountReader:
    """``AccountReader`` over ``GET /v1/account``."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def account(self) -> Account:
        """Return the account and mode of the key."""
        with self._connection.call() as client:
            found = client.v1.accounts.retrieve_current()
        return Account(found.id, self._connection.livemode)


class SummaryReader:
    """``SummaryReader`` over meter event summaries."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def summarized(self, stripe_meter_id: str, stripe_customer_id: str, period: Period) -> Decimal:
        """Return Stripe's total of the meter for the customer in the period.

        Stripe takes whole minutes only. The one that holds a boundary contains no report that was
        made with the boundary in view; one from before a subscription was cut short there belongs
        to the period that ended.
        """
        start_at = -(-period.start_at // MINUTE_US) * MINUTE_US
        end_at = -(-period.end_at // MINUTE_US) * MINUTE_US
        if start_at >= end_at:
            return ZERO
        with self._connection.call() as client:
            page = client.v1.billing.meters.event_summaries.list(
                stripe_meter_id,
                {
                    "customer": stripe_customer_id,
                    "start_time": to_seconds(start_at),
                    "end_time": to_seconds(end_at),
                    "limit": PAGE_MAX,
                },
            )
        # the SDK gives a float; its shortest spelling is the number that Stripe wrote
        return add_all(Decimal(str(row.aggregated_value)) for row in page.auto_paging_iter())

    def recorded(self, stripe_item_id: str, period: Period) -> RecordedUsage | None:
        """Return Stripe's figure of the billing period of a legacy item that holds a period.

        The summary of an invoiced period names it; the one without an invoice is the current one's.
        """
        with self._connection.call() as client:
            answer = client.raw_request(
                "get",
                f"/v1/subscription_items/{stripe_item_id}/usage_record_summaries",
                limit=PAGE_MAX,
                stripe_version=USAGE_RECORDS_VERSION,
            )
            page: Any = client.deserialize(answer, api_mode="V1")
        current = None
        middle = to_seconds((period.start_at + period.end_at) // 2)
        is_invoiced = False
        for row in page.data:
            if row.invoice is None:
                current = row
                continue
            start, end = row.period.start or 0, row.period.end or 0
            if start <= middle < end:
                return RecordedUsage(Decimal(row.total_usage), from_seconds(start))
            is_invoiced = is_invoiced or middle < end
        if is_invoiced:
            return None
        if current is None:
            raise StripeUnreachable(f"Stripe shows no usage of {stripe_item_id} in {period}")
        return RecordedUsage(Decimal(current.total_usage))


class InvoiceReader:
    """``InvoiceReader`` over invoices and their lines."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def invoices(self) -> Iterator[Invoice]:
        """Return every invoice of the account, with all lines, newest first."""
        with self._connection.call() as client:
            page = client.v1.invoices.list({"limit": PAGE_MAX})
        while True:
            for invoice in page.data:
                yield self._invoice(invoice)
            if not page.has_more:
                return
            with self._connection.call():
                page = page.next_page()

    def _invoice(self, invoice: stripe.Invoice) -> Invoice:
        lines = list(invoice.lines.data)
        if invoice.lines.has_more:
            with self._connection.call() as client:
                page = client.v1.invoices.line_items.list(invoice.id, {"limit": PAGE_MAX})
                lines = list(page.auto_paging_iter())
        parent = invoice.parent
        details = parent.subscription_details if parent else None
        return Invoice(
            stripe_invoice_id=invoice.id,
            stripe_customer_id=_id_of(invoice.customer) or "",
            stripe_subscription_id=_id_of(details.subscription) if details else None,
            billing_reason=invoice.billing_reason,
            status=invoice.status or "draft",
            currency=invoice.currency,
            total_minor=invoice.total,
            period_end_at=from_seconds(invoice.period_end),
            lines=tuple(_line(line) for line in lines),
        )


def _line(line: stripe.InvoiceLineItem) -> InvoiceLine:
    details = line.pricing.price_details if line.pricing else None
    parent = line.parent.subscription_item_details if line.parent else None
    return InvoiceLine(
        description=line.description or "",
        quantity=str(line.quantity_decimal or line.quantity or 0),
        amount_minor=line.amount,
        stripe_price_id=_id_of(details.price) if details else None,
        stripe_item_id=parent.subscription_item if parent else None,
    )


def _id_of(reference: object) -> str | None:
    """Return the id of something that Stripe gives as an id or, where expanded, as an object."""
    if reference is None or isinstance(reference, str):
        return reference
    return str(getattr(reference, "id"))  # noqa: B009 - the SDK's union types share only this
