"""The JSON schema of catalog files, for editors: made of the same names that reading knows."""

from __future__ import annotations

from typing import Any

from tallystick.domain.catalog.fields import KEY_CHARS_MAX
from tallystick.domain.catalog.meters import (
    REPORT_MINUTES_MAX,
    REPORT_MINUTES_MIN,
    VERSION_MAX,
)
from tallystick.domain.catalog.objects import PLAN_ITEMS_MAX
from tallystick.domain.catalog.prices import (
    AGGREGATE_USAGES,
    LOOKUP_KEY_CHARS_MAX,
    TAX_BEHAVIORS,
)
from tallystick.domain.catalog.reading import MINOR_MAX, PERIODS_MAX, QUANTITY_MAX
from tallystick.domain.events import NAME_CHARS_MAX
from tallystick.domain.meters import Aggregation, StripeFormula, TimeUnit
from tallystick.domain.quantity import DECIMALS_MAX, DIGITS_MAX
from tallystick.domain.rating.price_limits import CURRENCY_LETTERS, INTERVAL_COUNT_MAX_BY_INTERVAL
from tallystick.domain.rating.prices import (
    TIERS_MAX,
    BillingScheme,
    PackageRound,
    TiersMode,
    UsageType,
)

Schema = dict[str, Any]

_AMOUNT: Schema = {
    "description": "Whole minor units: cents, whole yen.",
    "type": "integer",
    "minimum": 0,
}
_AMOUNT_DECIMAL: Schema = {
    "description": f"Minor units with up to {DECIMALS_MAX} decimals, in quotes.",
    "type": ["string", "number"],
    "pattern": rf"^[0-9]{{1,{DIGITS_MAX}}}(\.[0-9]{{1,{DECIMALS_MAX}}})?$",
}
_TEXT: Schema = {"type": "string", "pattern": r"\S"}
_CURRENCY = rf"^[A-Za-z]{{{CURRENCY_LETTERS}}}$"
_STRIPE_ID: Schema = {
    **_TEXT,
    "description": "The id of an existing object at Stripe that this takes over.",
}


def catalog_schema() -> Schema:
    """Return the schema of a catalog file (JSON Schema 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tallystick catalog",
        "description": "Meters, sources of events, products with their prices, and plans. Amounts "
        "are in minor units.",
        **_object(
            {
                "meters": _named(_meter(), KEY_CHARS_MAX),
                "sources": _named(_source(), NAME_CHARS_MAX),
                "products": _named(_product(), KEY_CHARS_MAX),
                "plans": _named(_plan(), KEY_CHARS_MAX),
            }
        ),
    }


def _meter() -> Schema:
    measured = _object(
        {
            "display_name": _TEXT,
            "event_type": {**_TEXT, "description": "Events of this type are measured."},
            "aggregation": {"enum": [str(one) for one in Aggregation]},
            "decimals": {
                "description": "Decimal places that a value may have.",
                "type": "integer",
                "minimum": 0,
                "maximum": DECIMALS_MAX,
            },
            "version": {
                "description": "One more than before when event_type, aggregation, decimals or "
                "formula change.",
                "type": "integer",
                "minimum": 1,
                "maximum": VERSION_MAX,
            },
            "report_every_minutes": {
                "description": "Report in batches; left out: in real time.",
                "type": "integer",
                "minimum": REPORT_MINUTES_MIN,
                "maximum": REPORT_MINUTES_MAX,
            },
            "property": {**_TEXT, "description": "What unique_count counts the values of."},
            "filters": {
                "description": "Only events whose properties have one of these values.",
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean", "array"]},
            },
            "group_by": {
                "description": "Properties that usage can be broken down by.",
                "type": "array",
                "items": _TEXT,
            },
            "per": {
                "description": "The time in the unit of time_weighted: seat-days, GB-hours.",
                "enum": [str(one) for one in TimeUnit],
            },
            "formula": {
                "description": "What the Stripe meter makes of its meter events; left out: sum.",
                "enum": [str(one) for one in StripeFormula],
            },
        },
        ("event_type", "aggregation"),
    )
    external = _object(
        {
            "external": {
                **_object({"event_name": _TEXT}),
                "description": "A Stripe meter that something else reports to.",
            }
        },
        ("external",),
    )
    return {"anyOf": [measured, external]}


def _source() -> Schema:
    return _object(
        {
            "derive_ids": {
                "description": "Events of this source may come without ids: theirs are made of "
                "source, type, customer and time. Two that are equal in these count as one.",
                "type": "boolean",
            }
        }
    )


def _product() -> Schema:
    return _object(
        {
            "name": _TEXT,
            "unit_label": {**_TEXT, "description": "What one unit is called on an invoice line."},
            "stripe_id": _STRIPE_ID,
            "prices": _named(_price(), LOOKUP_KEY_CHARS_MAX - 4),
        }
    )


def _price() -> Schema:
    terms = _terms()
    return _object(
        {
            "meter": {**_TEXT, "description": "The meter whose usage this price charges."},
            "usage_records_of": {
                **_TEXT,
                "description": "The meter that the usage records of a legacy price come from.",
            },
            "currency": {"type": "string", "pattern": _CURRENCY},
            "currencies": {
                "description": "The price in several currencies, each with amounts of its own; the "
                "lookup key ends in _ and the currency.",
                "type": "object",
                "propertyNames": {"pattern": _CURRENCY},
                "additionalProperties": _object(terms),
            },
            "recurring": _object(
                {
                    "interval": {"enum": list(INTERVAL_COUNT_MAX_BY_INTERVAL)},
                    "interval_count": {"type": "integer", "minimum": 1},
                    "usage_type": {"enum": [str(one) for one in UsageType]},
                    "aggregate_usage": {
                        "description": "Only of a legacy price, which bills usage records.",
                        "enum": list(AGGREGATE_USAGES),
                    },
                }
            ),
            "billing_scheme": {"enum": [str(one) for one in BillingScheme]},
            "tiers_mode": {"enum": [str(one) for one in TiersMode]},
            "transform_quantity": _object(
                {
                    "divide_by": {"type": "integer", "minimum": 1},
                    "round": {"enum": [str(one) for one in PackageRound]},
                },
                ("divide_by", "round"),
            ),
            "nickname": _TEXT,
            **terms,
        }
    )


def _terms() -> Schema:
    tier = _object(
        {
            "up_to": {
                "description": "The last unit of the tier; inf in the last one.",
                "anyOf": [{"type": "integer", "minimum": 1}, {"const": "inf"}],
            },
            "unit_amount": _AMOUNT,
            "unit_amount_decimal": _AMOUNT_DECIMAL,
            "flat_amount": _AMOUNT,
            "flat_amount_decimal": _AMOUNT_DECIMAL,
        },
        ("up_to",),
    )
    return {
        "unit_amount": _AMOUNT,
        "unit_amount_decimal": _AMOUNT_DECIMAL,
        "tiers": {"type": "array", "items": tier, "minItems": 1, "maxItems": TIERS_MAX},
        "tax_behavior": {"enum": list(TAX_BEHAVIORS)},
        "stripe_id": _STRIPE_ID,
    }


def _plan() -> Schema:
    item = _object(
        {
            "price": {**_TEXT, "description": "A price of this catalog."},
            "quantity": {"type": "integer", "minimum": 1, "maximum": QUANTITY_MAX},
        },
        ("price",),
    )
    commitment = _object(
        {
            "minimum": {"type": "integer", "minimum": 1, "maximum": MINOR_MAX},
            "periods": {
                "description": "Billing periods that the minimum is for; left out: each invoice.",
                "type": "integer",
                "minimum": 1,
                "maximum": PERIODS_MAX,
            },
        },
        ("minimum",),
    )
    by_currency = {"type": "object", "propertyNames": {"pattern": _CURRENCY}}
    return _object(
        {
            "name": _TEXT,
            "items": {
                "type": "array",
                "items": {"anyOf": [_TEXT, item]},
                "minItems": 1,
                "maxItems": PLAN_ITEMS_MAX,
            },
            "currencies": {"type": "array", "items": {"type": "string", "pattern": _CURRENCY}},
            "commitments": {**by_currency, "additionalProperties": commitment},
            "spend_caps": {
                **by_currency,
                "additionalProperties": {"type": "integer", "minimum": 0, "maximum": MINOR_MAX},
            },
        },
        ("items",),
    )


def _named(declared: Schema, chars_max: int) -> Schema:
    return {
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": chars_max},
        "additionalProperties": declared,
    }


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema
