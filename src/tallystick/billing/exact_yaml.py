"""YAML read without losing a digit."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import yaml


class ExactLoader(yaml.SafeLoader):
    """YAML's safe loader, in which a number with a point is the decimal written, no float."""


def _exact_number(loader: ExactLoader, node: yaml.ScalarNode) -> Decimal | str:
    text = str(loader.construct_scalar(node))
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:  # YAML's .inf ends a tier table; .nan no price has, and checks say so
        return text.lower().removeprefix(".")


ExactLoader.add_constructor("tag:yaml.org,2002:float", _exact_number)
