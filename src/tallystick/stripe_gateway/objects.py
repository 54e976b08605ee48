"""Stripe's objects and events as received: the source of the mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import stripe

from tallystick.domain.json_types import prepare
from tallystick.ports.errors import StripeUnreachable
from tallystick.ports.mirror import ObjectKind, ObjectPage
from tallystick.stripe_gateway.versions import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallystick.stripe_gateway.connection import StripeConnection

PAGE_MAX = 100
"""Objects of one page: the most that Stripe gives."""

_PATHS = {
    ObjectKind.METER: "/v1/billing/meters",
    ObjectKind.PRODUCT: "/v1/products",
    ObjectKind.PRICE: "/v1/prices",
    ObjectKind.TEST_CLOCK: "/v1/test_helpers/test_clocks",
    ObjectKind.CUSTOMER: "/v1/customers",
    ObjectKind.SUBSCRIPTION: "/v1/subscriptions",
    ObjectKind.INVOICE: "/v1/invoices",
}


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool = False


class _Removal(msgspec.Struct):
    deleted: bool = False


prepare(_Page, _Removal)


class ObjectSource:
    """``ObjectSource`` over Stripe's lists and single objects."""

    api_version = API_VERSION

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    @property
    def calls_per_second(self) -> int:
        """How fast it may be read, at present."""
        return int(self._connection.pace.per_second)

    def read(self, kind: ObjectKind, stripe_id: str) -> bytes | None:
        """Return the object, or None where there is none any more."""
        try:
            body = self._get(f"{_PATHS[kind]}/{stripe_id}", {})
        except _Absent:
            return None
        # customers, products and prices leave a stub behind (API reference, "deleted")
        return None if msgspec.json.decode(body, type=_Removal).deleted else body

    def page(
        self, kind: ObjectKind, after: str | None = None, where: Mapping[str, str] | None = None
    ) -> ObjectPage:
        """Return the next objects of a list from beyond ``after``, filtered as Stripe filters."""
        if kind is ObjectKind.TEST_CLOCK and self._connection.livemode:
            return ObjectPage((), has_more=False)  # test clocks exist in test mode only
        return self._page(_PATHS[kind], after, where or {})

    def parts(self, path: str, after: str | None, where: Mapping[str, str]) -> ObjectPage:
        """Return more of a list that an object showed only the beginning of."""
        return self._page(path, after, where)

    def events(self, after: str | None = None, pattern: str | None = None) -> ObjectPage:
        """Return the events of the last 30 days from beyond ``after``."""
        return self._page("/v1/events", after, {"type": pattern} if pattern else {})

    def thin_event(self, event_id: str) -> bytes:
        """Return the whole of an event whose notification had no data."""
        try:
            return self._get(f"/v2/core/events/{event_id}", {})
        except _Absent as error:
            # an event can be fetched a moment after it was told of, and for 30 days
            raise StripeUnreachable(f"event {event_id} cannot be fetched: {error}") from error

    def _page(self, path: str, after: str | None, where: Mapping[str, str]) -> ObjectPage:
        asked: dict[str, Any] = {"limit": PAGE_MAX, **where}
        if after is not None:
            asked["starting_after"] = after
        page = msgspec.json.decode(self._get(path, asked), type=_Page)
        return ObjectPage(tuple(bytes(each) for each in page.data), page.has_more)

    def _get(self, path: str, asked: Mapping[str, Any]) -> bytes:
        with self._connection.call() as client:
            try:
                answer = client.raw_request("get", path, **asked)
            except stripe.InvalidRequestError as error:
                if error.http_status == 404:
                    raise _Absent(str(error)) from error
                raise
        body: str = answer.body
        return body.encode()


class _Absent(Exception):
    """Stripe has no such object."""
