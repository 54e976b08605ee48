"""A price in a YAML or JSON file, with every number exactly as it was written."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml

from tallystick.billing.exact_yaml import ExactLoader
from tallystick.domain.rating.prices import Price, PriceError, price_from_stripe

if TYPE_CHECKING:
    from pathlib import Path

PRICE_FILE_BYTES_MAX = 1_000_000
"""Far more than a price of a thousand tiers; a larger file is not a price."""


def read_price(path: Path) -> Price:
    """Read the price in a file.

    Raises:
        PriceError: the file cannot be read (``price_file_unreadable``), is neither YAML nor JSON
            (``price_file_invalid``), or holds a price that cannot be.
    """
    return price_from_stripe(_parse(_read(path)))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            content = opened.read(PRICE_FILE_BYTES_MAX + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise PriceError("price_file_unreadable", f"{path}: {error.strerror}", "price") from error
    except UnicodeDecodeError as error:
        raise PriceError("price_file_invalid", "The file is not UTF-8 text.", "price") from error
    if len(content) > PRICE_FILE_BYTES_MAX:
        raise PriceError("price_file_invalid", "The file is too large for a price.", "price")
    return text


def _parse(text: str) -> Any:
    """Read JSON where the text begins like an object, else YAML."""
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text, parse_float=Decimal)
        return yaml.load(text, Loader=ExactLoader)  # noqa: S506 - a safe loader, by inheritance
    except (ValueError, yaml.YAMLError) as error:
        raise PriceError(
            "price_file_invalid", f"The file is neither JSON nor YAML: {_one_line(error)}", "price"
        ) from error
    except RecursionError as error:
        raise PriceError("price_file_invalid", "The file is nested too deep.", "price") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
