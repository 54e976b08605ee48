"""The catalog: meters, sources, products with their prices, and plans, as a team declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallystick.domain.meters import Meter
    from tallystick.domain.rating.commitments import Commitment
    from tallystick.domain.rating.prices import Price
    from tallystick.domain.rating.spend_caps import SpendCap

PLAN_ITEMS_MAX = 20
"""Items of one subscription: Stripe's limit (docs.stripe.com/billing/subscriptions/multiple-
products)."""

Path = tuple[str | int, ...]
"""Where something stands in a catalog, like ``("meters", "api_requests", "aggregation")``."""


class Position(NamedTuple):
    """A place in a file; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class CatalogProblem(NamedTuple):
    """One thing in a catalog that cannot be, or that deserves a warning."""

    path: Path
    message: str
    position: Position | None = None

    @property
    def field(self) -> str:
        """The path as it is written for people: ``products.api.prices.calls.tiers[1].up_to``."""
        return show_path(self.path)

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position else ""
        field = f"{self.field}: " if self.path else ""
        return f"{where}{field}{self.message}"


class CatalogError(ValueError):
    """What in a catalog cannot be: every problem that was found, at least one."""

    def __init__(self, problems: Iterable[CatalogProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class ExternalMeter:
    """A Stripe meter that something else reports to: known by its event name, never changed.

    Prices may bill it; its usage is not measured here.
    """

    key: str
    event_name: str


@dataclass(frozen=True, slots=True)
class EventSource:
    """A source of events; ``derives_ids``: its events may come without ids of their own."""

    name: str
    derives_ids: bool


@dataclass(frozen=True, slots=True)
class CatalogPrice:
    """One price of a product, in one currency.

    ``key`` is its lookup key at Stripe; ``name`` is how the catalog declares it, which several
    currencies share. ``meter_key`` is None for a licensed price, for one that bills a meter of
    somebody else's (``external_meter_key``), and for a legacy one, which ``aggregate_usage`` says
    it is; ``records_meter_key`` is then the meter of ours that its usage records come from.
    ``stripe_id`` names the price that is taken over where none has the lookup key.
    """

    key: str
    name: str
    product_key: str
    price: Price
    path: Path
    meter_key: str | None = None
    external_meter_key: str | None = None
    aggregate_usage: str | None = None
    records_meter_key: str | None = None
    nickname: str | None = None
    stripe_id: str | None = None

    @property
    def is_legacy(self) -> bool:
        """Whether it bills usage records, which Stripe replaced by meters."""
        return self.aggregate_usage is not None


@dataclass(frozen=True, slots=True)
class Product:
    """Something that is sold, and what it costs."""

    key: str
    name: str
    prices: tuple[CatalogPrice, ...]
    unit_label: str | None = None
    stripe_id: str | None = None


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One price of a plan, by the name that its currencies share; licensed ones have a quantity."""

    price_name: str
    quantity: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices that are subscribed to together, in each of its currencies, and what is agreed on.

    Commitments and spend caps are by currency.
    """

    key: str
    name: str
    items: tuple[PlanItem, ...]
    currencies: tuple[str, ...]
    commitments: Mapping[str, Commitment]
    spend_caps: Mapping[str, SpendCap]


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that catalog files declare; ``document`` is the declaration itself."""

    meters: tuple[Meter, ...]
    products: tuple[Product, ...]
    plans: tuple[Plan, ...] = ()
    external_meters: tuple[ExternalMeter, ...] = ()
    sources: tuple[EventSource, ...] = ()
    document: Mapping[str, object] = field(default_factory=dict)
    positions: Mapping[Path, Position] = field(default_factory=dict)

    @property
    def prices(self) -> tuple[CatalogPrice, ...]:
        """The prices of all products."""
        return tuple(price for product in self.products for price in product.prices)

    def price_of(self, name: str, currency: str) -> CatalogPrice | None:
        """Return the price of that name in the currency."""
        for price in self.prices:
            if price.name == name and price.price.currency == currency:
                return price
        return None

    def meter_path(self, key: str) -> Path:
        """Return where the meter of that key is declared: its version is no part of the name."""
        declared = self.document.get("meters")
        for name, fields in declared.items() if isinstance(declared, Mapping) else ():
            if meter_key(name, fields.get("version", 1)) == key:
                return ("meters", name)
        return ("meters", key)

    def located(self, problems: Iterable[CatalogProblem]) -> tuple[CatalogProblem, ...]:
        """Return the problems with their places in the files, as far as they are known."""
        return locate(problems, self.positions)


def meter_key(name: str, version: int) -> str:
    """Return the key, and event name, of a version of the meter that is declared by a name."""
    return name if version == 1 else f"{name}_v{version}"


def show_path(path: Sequence[str | int]) -> str:
    """Return a path as it is written for people."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += f".{part}" if shown else part
    return shown


def locate(
    problems: Iterable[CatalogProblem], positions: Mapping[Path, Position]
) -> tuple[CatalogProblem, ...]:
    """Return the problems in file order, each at the innermost declaration that its path has.

    One that says itself where it is, as a key that stands twice does, stays there.
    """
    placed = [
        problem._replace(position=problem.position or _position(problem.path, positions))
        for problem in problems
    ]
    return tuple(sorted(placed, key=lambda problem: problem.position or Position("", 0)))


def _position(path: Path, positions: Mapping[Path, Position]) -> Position | None:
    for length in range(len(path), -1, -1):
        found = positions.get(path[:length])
        if found is not None:
            return found
    return None
