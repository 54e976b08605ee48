"""Reading the meters of a catalog."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.catalog.fields import Fields
from tallystick.domain.catalog.objects import ExternalMeter, meter_key
from tallystick.domain.meters import (
    Aggregation,
    Meter,
    PropertyFilter,
    StripeFormula,
    TimeUnit,
    property_text,
)
from tallystick.domain.quantity import DECIMALS_MAX, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

METER_FIELDS = (
    "display_name",
    "event_type",
    "aggregation",
    "decimals",
    "version",
    "report_every_minutes",
    "property",
    "filters",
    "group_by",
    "per",
    "formula",
    "external",
)

VERSION_MAX = 1000
REPORT_MINUTES_MIN = 15
REPORT_MINUTES_MAX = 60
"""Usage is reported in real time, or in batches of 15 to 60 minutes."""


class DeclaredMeters(NamedTuple):
    """The meters of a catalog; ``by_name`` says which one prices mean by a declared name."""

    measured: tuple[Meter, ...]
    external: tuple[ExternalMeter, ...]
    by_name: Mapping[str, Meter | ExternalMeter]


def read_meters(root: Fields) -> DeclaredMeters:
    """Return what the section ``meters`` declares."""
    by_name: dict[str, Meter | ExternalMeter] = {}
    keys: dict[str, str] = {}
    for name, declared in root.named("meters"):
        fields = Fields(declared, ("meters", name), METER_FIELDS, root.problems)
        meter = _external(name, fields) if fields.has("external") else _measured(name, fields)
        by_name[name] = meter
        event_name = meter.event_name if isinstance(meter, ExternalMeter) else meter.key
        if event_name in keys:
            fields.problems.add(
                fields.path,
                f"is the Stripe meter {event_name!r}, as meters.{keys[event_name]} is already",
            )
        keys[event_name] = name
    return DeclaredMeters(
        tuple(meter for meter in by_name.values() if isinstance(meter, Meter)),
        tuple(meter for meter in by_name.values() if isinstance(meter, ExternalMeter)),
        by_name,
    )


def _measured(name: str, fields: Fields) -> Meter:
    minutes = None
    if fields.has("report_every_minutes"):
        minutes = fields.whole("report_every_minutes", None, REPORT_MINUTES_MIN, REPORT_MINUTES_MAX)
    aggregation = Aggregation(fields.choice("aggregation", tuple(Aggregation)))
    if aggregation is not Aggregation.TIME_WEIGHTED and fields.has("per"):
        fields.wrong("per", "belongs to time_weighted alone")
    return Meter(
        key=meter_key(name, fields.whole("version", 1, 1, VERSION_MAX)),
        display_name=fields.text("display_name", default=name),
        event_type=fields.text("event_type"),
        aggregation=aggregation,
        decimals=fields.whole("decimals", 0, 0, DECIMALS_MAX),
        report_every_minutes=minutes,
        counted_property=_counted_property(fields, aggregation),
        filters=_filters(fields),
        group_by=_group_by(fields),
        per=TimeUnit(fields.choice("per", tuple(TimeUnit), TimeUnit.HOUR)),
        formula=_formula(fields, aggregation),
    )


def _formula(fields: Fields, aggregation: Aggregation) -> StripeFormula:
    formula = StripeFormula(fields.choice("formula", tuple(StripeFormula), StripeFormula.SUM))
    if formula is StripeFormula.COUNT and aggregation is not Aggregation.COUNT:
        fields.wrong("formula", "a Stripe meter that counts can only be told of what is counted")
        return StripeFormula.SUM
    return formula


def _counted_property(fields: Fields, aggregation: Aggregation) -> str | None:
    """Return whose values are counted: unique_count needs it, and nothing else has it."""
    if aggregation is Aggregation.UNIQUE_COUNT:
        return fields.text("property")
    if fields.has("property"):
        fields.wrong("property", "belongs to unique_count alone, which counts its values")
    return None


def _filters(fields: Fields) -> tuple[PropertyFilter, ...]:
    found = []
    for name, declared in fields.named("filters"):
        values = declared if isinstance(declared, list) else [declared]
        # as ingest sees the property of an event, so that 5 and true are what they are there
        texts = [
            plain(value) if isinstance(value, Decimal) else property_text({name: value}, name)
            for value in values
        ]
        shown = tuple(text for text in texts if text is not None)
        if not shown or len(shown) < len(texts):
            path = (*fields.path, "filters", name)
            fields.problems.add(path, "one value of the property, or a list of them, is needed")
            continue
        found.append(PropertyFilter(name, shown))
    return tuple(found)


def _group_by(fields: Fields) -> tuple[str, ...]:
    names = fields.listed("group_by")
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            fields.problems.add((*fields.path, "group_by", place), "a property's name is needed")
    return tuple(name for name in names if isinstance(name, str))


def _external(name: str, fields: Fields) -> ExternalMeter:
    """Read a meter that something else reports to: nothing of it is ours to declare."""
    for field in fields.values:
        if field in METER_FIELDS and field != "external":
            fields.wrong(field, "a meter that is external has only its event name here")
    external = Fields(
        fields.values["external"], (*fields.path, "external"), ("event_name",), fields.problems
    )
    return ExternalMeter(name, external.text("event_name", default=name))
