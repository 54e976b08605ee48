"""Catalog files: YAML, read without losing a digit."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml

from tallystick.domain.catalog import Catalog, CatalogError, catalog_from_mapping

if TYPE_CHECKING:
    from pathlib import Path


class _ExactLoader(yaml.SafeLoader):
    """YAML in which a number with a point is the decimal written, not the nearest float."""


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
    text = loader.construct_scalar(node)
    try:
        return Decimal(text.replace("_", ""))
    except ArithmeticError:  # .inf and .nan: no price has them, and the check says so by name
        return text


_ExactLoader.add_constructor("tag:yaml.org,2002:float", _decimal)


def read_catalog(path: Path) -> Catalog:
    """Return the catalog that the file declares.

    Raises:
        CatalogError: the file cannot be read or parsed, or declares what cannot be.
    """
    try:
        document: Any = yaml.load(path.read_text("utf-8"), _ExactLoader)  # noqa: S506 - derived from SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(str(path), f"cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise CatalogError(str(path), f"is not valid YAML: {error}") from error
    return catalog_from_mapping(document)
